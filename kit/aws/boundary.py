"""Where botocore's errors become ours: one context manager that every stage wraps around its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from kit.errors import CloudError, KitError


class ClientSource(Protocol):
    """What a stage needs of a session: clients by service name."""

    def client(self, name: str) -> Any: ...


@contextmanager
def cloud_errors(what: str, error_type: type[KitError] = CloudError) -> Iterator[None]:
    """Raise `error_type` naming `what` for any error of botocore inside the block."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise error_type(f"{what}: {error}") from error


def error_code(error: ClientError) -> str:
    """The service's own name of an error (`ValidationError`)."""
    return error.response.get("Error", {}).get("Code", "")
