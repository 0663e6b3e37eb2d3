"""AWS clients, made once per process: their time-outs, their retries, and their errors as ours.

botocore and not boto3: the same clients, without the resource layer's cost at every start of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from paperbroker.errors import StoreThrottled, StoreUnavailable
from paperbroker.storage.watch import CANCELLED, Watch, is_throttled

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 2.0
# First try and one more, with botocore's own full jitter: two reads of 2 s are the longest that a caller waits.
ATTEMPTS_MAX = 2
# For calls that a client waits for. The bounds leave a request (`services.retry_budget.REQUEST_S`) time for one
# answer; the retry budget decides on further tries, because it knows the time that is left.
PROMPT_CONNECT_TIMEOUT_S = 0.5
PROMPT_READ_TIMEOUT_S = 1.2
CONNECTIONS_MAX = 32
USER_AGENT = "paperbroker"


class Clients:
    """A factory of low-level clients that share one session."""

    def __init__(self, region: str) -> None:
        self._session = botocore.session.get_session()
        self._region = region

    def make(
        self,
        service: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        attempts: int = ATTEMPTS_MAX,
        watch: Watch | None = None,
    ) -> BaseClient:
        """A thread-safe client. Parameter validation is off: it costs as much as the signing, and tests send every
        request that we build to a server that validates."""
        config = Config(
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS_MAX,
            parameter_validation=False,
            tcp_keepalive=True,
            user_agent=USER_AGENT,  # a constant: botocore's own is put together anew for every request
        )
        client = self._session.create_client(service, region_name=self._region, config=config)
        if watch is not None:
            watch.attach(client)
        return client


@contextmanager
def unavailable_as(error: Callable[[str], Exception], operation: str) -> Iterator[None]:
    """Turn every failure of AWS into ours; errors that carry a decision are caught before, by their name. A store
    that is out of capacity did nothing, and says so."""
    try:
        yield
    except ClientError as exc:
        response: Any = exc.response
        kind = StoreThrottled if error is StoreUnavailable and is_throttled(response) else error
        raise kind(f"{operation}: {code_of(exc)}") from exc
    except BotoCoreError as exc:
        raise error(f"{operation}: {type(exc).__name__}") from exc


def code_of(error: ClientError) -> str:
    """The error's name, as AWS spells it."""
    details: Any = error.response.get("Error", {})
    return str(details.get("Code", "Unknown"))


def reasons_of(error: ClientError) -> list[dict[str, Any]]:
    """Why a transaction was cancelled, one entry per item of it; empty for any other error."""
    if code_of(error) != CANCELLED:
        return []
    response: Any = error.response
    return list(response.get("CancellationReasons", []))
