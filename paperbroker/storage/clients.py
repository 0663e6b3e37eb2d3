"""AWS clients, made once per process: timeouts, retries, and the mapping of AWS errors to PaperBroker's.

Uses botocore instead of boto3, which would add the cost of its resource layer to every start of a task.
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
# One retry, with botocore's full jitter: a caller waits for two reads of 2 s at most.
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
        """Make a thread-safe client.

        Parameter validation is off: it costs as much as signing, and the tests send every request to a server that
        validates.
        """
        config = Config(
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS_MAX,
            parameter_validation=False,
            tcp_keepalive=True,
            user_agent=USER_AGENT,  # A constant, because botocore builds its own anew for every request.
        )
        client = self._session.create_client(service, region_name=self._region, config=config)
        if watch is not None:
            watch.attach(client)
        return client


@contextmanager
def unavailable_as(error: Callable[[str], Exception], operation: str) -> Iterator[None]:
    """Turn every AWS failure into `error`, or into StoreThrottled where the store was out of capacity.

    Errors that carry a decision (failed conditions) are caught by name before they get here.
    """
    try:
        yield
    except ClientError as exc:
        response: Any = exc.response
        kind = StoreThrottled if error is StoreUnavailable and is_throttled(response) else error
        raise kind(f"{operation}: {code_of(exc)}") from exc
    except BotoCoreError as exc:
        raise error(f"{operation}: {type(exc).__name__}") from exc


def code_of(error: ClientError) -> str:
    """Return the AWS error code."""
    details: Any = error.response.get("Error", {})
    return str(details.get("Code", "Unknown"))


def reasons_of(error: ClientError) -> list[dict[str, Any]]:
    """Return the cancellation reasons of a transaction, one per item; empty for any other error."""
    if code_of(error) != CANCELLED:
        return []
    response: Any = error.response
    return list(response.get("CancellationReasons", []))
