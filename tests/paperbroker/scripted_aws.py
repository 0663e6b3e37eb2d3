"""AWS clients with scripted answers, to produce failures that a local server does not.

botocore makes and signs the requests and parses the answers; only the network is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botocore.awsrequest import AWSResponse

from paperbroker.domain.events import IntakeEvent
from paperbroker.services.intake import Intake
from paperbroker.settings import Tables
from paperbroker.storage.clients import Clients
from paperbroker.storage.queues import CommandQueue
from paperbroker.storage.tables import OrderTables
from paperbroker.storage.watch import Watch

CLIENTS = Clients("us-east-1")
CLIENTS._session.set_credentials("test", "test")
TABLES = Tables(orders="O", outbox="X", ledger="L", markets="M", positions="P", applied="A")

# An answer (HTTP status and content), or the exception that the call raises.
Step = tuple[int, dict[str, Any]] | Exception
OK: Step = (200, {})


class Body:
    """The body of an answer as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield self._body


def answer(url: str, status: int, content: dict[str, Any]) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(url, status, headers, Body(json.dumps(content).encode()))  # pyright: ignore


def refusal(code: str, **more: Any) -> Step:
    """Make a 400 answer with an error code."""
    return 400, {"__type": code, "message": "scripted", **more}


def cancelled(*reasons: str) -> Step:
    """Make the answer of a cancelled transaction; one reason per item."""
    return refusal("TransactionCanceledException", CancellationReasons=[{"Code": reason} for reason in reasons])


def scripted(
    service: str, steps: Sequence[Step] | Callable[[dict[str, Any]], Step], watch: Watch | None = None, **how: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """Return a client and the list of requests that it sends.

    It answers with `steps` in turn, repeating the last one, or with what `steps` returns for the request.
    """
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


class ScriptedIntake:
    """Intake in front of a scripted DynamoDB. Its clock advances by `call_s` per call and by intake's sleeps."""

    def __init__(self, steps: Iterable[Step] = (OK,), call_s: float = 0.0) -> None:
        self.now_s = self.started_s = 50.0
        self.slept: list[float] = []
        self.offered: list[IntakeEvent] = []
        self.offered_before_call: list[int] = []
        self.steps = iter(steps)
        self._call_s = call_s
        client, self.sent = scripted("dynamodb", self._answer, attempts=1)
        self.intake = Intake(OrderTables(client, TABLES), self, now_s=lambda: self.now_s, sleep=self._sleep)

    def _answer(self, request: dict[str, Any]) -> Step:
        self.offered_before_call.append(len(self.offered))
        self.now_s += self._call_s
        return next(self.steps)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def offer(self, event: IntakeEvent) -> None:
        self.offered.append(event)

    @property
    def key_record(self) -> str:
        """Return the primary key of the idempotency record in the last transaction."""
        items = [write.get("Put", {}).get("Item", {}) for write in self.sent[-1]["TransactItems"]]
        names = [item["pk"]["S"] for item in items if item.get("pk", {}).get("S", "").startswith("key#")]
        assert len(names) == 1, "no conditional put of a key record"
        return names[0]


def message_of(event: IntakeEvent) -> dict[str, Any]:
    """Return the SQS entry with which the event is sent."""
    client, sent = scripted("sqs", [(200, {"Successful": []})])
    CommandQueue(client, "http://q/1/q.fifo").send([event])
    return sent[0]["Entries"][0]
