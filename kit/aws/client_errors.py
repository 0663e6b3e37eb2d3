"""Turn botocore's errors into the kit's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from kit.errors import CloudError, KitError


class ClientSource(Protocol):
    """The part of a session that most stages need: clients by service name."""

    def client(self, name: str) -> Any: ...


@contextmanager
def cloud_errors(what: str, error_type: type[KitError] = CloudError) -> Iterator[None]:
    """Raise `error_type`, which names `what`, for any error of botocore inside the block."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise error_type(f"{what}: {error}") from error


def error_code(error: ClientError) -> str:
    """Return the service's code of an error, such as `ValidationError`."""
    return error.response.get("Error", {}).get("Code", "")
