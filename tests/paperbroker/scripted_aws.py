"""AWS clients whose answers are written in advance: what a server does only in trouble, on demand.

The requests are made, signed and answered by botocore itself; only the network is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from botocore.awsrequest import AWSResponse

from paperbroker.settings import Tables
from paperbroker.storage.clients import Clients
from paperbroker.storage.watch import Watch

CLIENTS = Clients("us-east-1")
TABLES = Tables(orders="O", outbox="X", ledger="L", markets="M", positions="P", applied="A")


class Body:
    """The body of an answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield self._body


def answer(url: str, status: int, content: dict[str, Any]) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(url, status, headers, Body(json.dumps(content).encode()))  # pyright: ignore


def refusal(code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """A 400 that names an error."""
    return 400, {"__type": code, "message": "scripted", **more}


def cancelled(*reasons: str) -> tuple[int, dict[str, Any]]:
    """A transaction that was cancelled for these reasons, one an item."""
    return refusal("TransactionCanceledException", CancellationReasons=[{"Code": reason} for reason in reasons])


Step = tuple[int, dict[str, Any]] | Exception


def scripted(
    service: str, steps: Sequence[Step] | Callable[[dict[str, Any]], Step], watch: Watch | None = None, **how: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """A client that answers step by step (the last one again and again) or as a function of the request; and the
    requests that it got."""
    client = CLIENTS.make(service, watch=watch, **how)
    sent: list[dict[str, Any]] = []

    def before_send(request: Any, **kwargs: Any) -> AWSResponse:
        sent.append(json.loads(request.body))
        step = steps(sent[-1]) if callable(steps) else steps[min(len(sent), len(steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return answer(request.url, *step)

    client.meta.events.register("before-send", before_send)
    return client, sent
