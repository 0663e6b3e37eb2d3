"""Define the values that flow between stages and the columns of the tables that they exchange.

Times are seconds since the epoch as `float` in values and nanoseconds since the epoch as `int64` in tables.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.errors import EvidenceMissing

VERDICT_SCHEMA = "gameday.verdict/1"
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MS_PER_S = 1_000
# The load's first seconds are connection set-up and cold caches; nothing is judged by them.
WARM_UP_S = 3.0


class Outcome(StrEnum):
    """What a client knows about one attempt (Jepsen's rule): a time-out is `info`, never `fail`."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Status(StrEnum):
    """The result of one check."""

    PASS = "pass"
    FAIL = "fail"
    INVALID = "invalid"


class Verdict(StrEnum):
    """The result of one run. FAIL beats ABORTED beats INVALID beats PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    ABORTED = "ABORTED"
    INVALID = "INVALID"

    @property
    def exit_code(self) -> int:
        return {"PASS": 0, "FAIL": 1, "ABORTED": 2, "INVALID": 3}[self.value]


USAGE_EXIT_CODE = 4


class CheckKind(StrEnum):
    """The subject of a check."""

    INTEGRITY = "integrity"
    SLO = "slo"
    GOLDEN = "golden"
    FAULT = "fault"
    HYPOTHESIS = "hypothesis"
    GENERATOR = "generator"
    STACK = "stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check with its reason.

    `measured` and `limit` are in `unit`. `counterexample` is a short timeline with one plain dict for each step, which
    has at least `t` (epoch seconds or None) and `what` (a sentence).
    """

    name: str
    kind: CheckKind
    status: Status
    detail: str
    measured: float | int | None = None
    limit: float | int | None = None
    unit: str = ""
    phase: str = ""
    counterexample: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A named interval of the run, such as `before`, `during` or `after`: [start, end) in epoch seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultWindow:
    """The course of one FIS experiment, with the kit's own evidence of its effect.

    `status` is the experiment's last FIS state (`completed`, `stopped`, `failed`, …). `observed_at` is when evidence
    independent of FIS first showed the effect, `healed_at` when that evidence showed that the effect was gone. Each is
    None if that was not observed. `stopped_by` names the guardrail alarm that stopped the experiment, or is empty.
    """

    experiment_id: str
    template: str
    status: str
    reason: str = ""
    stopped_by: str = ""
    actions: tuple[dict[str, Any], ...] = ()
    targets: tuple[dict[str, Any], ...] = ()
    injected_at: float | None = None
    ended_at: float | None = None
    observed_at: float | None = None
    healed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStop:
    """One ECS task that stopped, in ECS's own words, in epoch seconds.

    `stopping_at`: since when it has been leaving and gets no more work; `stopped_at`: None while it is still leaving.
    """

    arn: str
    service: str
    zone: str
    code: str
    reason: str
    exit_code: int | None
    stopped_at: float | None
    stopping_at: float | None = None

    def __str__(self) -> str:
        ended = "" if self.exit_code is None else f", exit code {self.exit_code}"
        return (
            f"{self.service} task {self.arn.rsplit('/', 1)[-1][:8]} in {self.zone}: {self.reason or self.code}{ended}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run was started with and what it built.

    `build` is the content address of the image, empty if nothing was built. `parameters` are all that the run was
    given or took by default. `started_at` and `ended_at` are epoch seconds, None if the run did not get that far.
    """

    run_id: str
    scenario: str
    build: str = ""
    change: str = ""
    target: str
    region: str
    seed: int
    reproduce: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStats:
    """What the load generator did.

    `intended` counts scheduled operations. `dropped` counts requests that were not sent because all connections were in
    use. The other counts are attempts.
    """

    intended: int
    sent: int
    ok: int
    fail: int
    info: int
    dropped: int
    lag_ms_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A running stack. `outputs` are its CloudFormation outputs by key."""

    stack_name: str
    run_id: str
    api_url: str
    outputs: dict[str, str] = field(default_factory=dict)


# What an attempt asks for: the values of `op`.
OPERATIONS = ORDER, CANCEL, GET_ORDER, BOOK, TRADES = "order", "cancel", "get_order", "book", "trades"
# Why an attempt was sent: the values of `kind`.
FIRST = "first"
RETRY = "retry"  # after an answer that settled nothing: a time-out, a 429 or 5xx, a refused connection
REASK = "reask"  # the drain at the end of the load asks again for what is still unknown
RESUBMIT_EARLY = "resubmit_early"  # within 0.2 s of the first attempt, whether or not that one was answered
RESUBMIT_SEQUENTIAL = "resubmit_sequential"  # of an acknowledged key: one after the other
RESUBMIT_CONCURRENT = "resubmit_concurrent"  # of an acknowledged key: several at once
REUSE_KEY = "reuse_key"  # an acknowledged key with other content, which must be refused
TAKEN_ORDER_ID = "taken_order_id"  # an acknowledged order's id under a new key, which must be refused
MALFORMED = "malformed"  # a request that breaks a rule of the contract, which must be refused
RESUBMIT_LATE = "resubmit_late"  # of an acknowledged key, long after the acknowledgement
CONTESTED_ORDER_ID = "contested_order_id"  # two orders with one id, at once: one of them must be refused
ATTEMPT_KINDS = (
    FIRST, RETRY, REASK, RESUBMIT_EARLY, RESUBMIT_SEQUENTIAL, RESUBMIT_CONCURRENT, REUSE_KEY, TAKEN_ORDER_ID, MALFORMED,
    RESUBMIT_LATE, CONTESTED_ORDER_ID,
)  # fmt: skip
# Attempts that must be refused and have no effect. They say nothing about the operation whose key or id they carry.
PROBES = frozenset({REUSE_KEY, TAKEN_ORDER_ID, MALFORMED})

# One row per attempt: the client's half of the history. Columns that an operation lacks hold ""/0.
# `intended_ns` is the scheduled time of a first attempt (its latency counts from then) and the send time of all others.
# `late_status` and `late_ns` describe an answer that came after the time-out.
ATTEMPT_COLUMNS: dict[str, str] = {
    "op_id": "int64",
    "op": "string",  # one of OPERATIONS
    "kind": "string",  # one of ATTEMPT_KINDS
    "attempt": "int32",
    "client_id": "string",
    "idempotency_key": "string",
    "order_id": "string",  # for a cancel: the order to cancel
    "symbol": "string",
    "side": "string",  # BUY | SELL
    "type": "string",  # LIMIT | MARKET
    "tif": "string",  # GTC | IOC
    "qty": "int64",  # order: lots
    "price": "int64",  # order: ticks, 0 for MARKET
    "depth": "int64",  # book: the price levels a side that were asked for
    "limit": "int64",  # trades: the most trades that were asked for
    "after": "int64",  # trades: the ledger sequence number after which they were asked for
    "intended_ns": "int64",
    "invoked_ns": "int64",
    "completed_ns": "int64",
    "outcome": "string",
    "status": "int32",  # HTTP status, 0 if none
    "error": "string",  # timeout | refused | reset | eof | protocol | ""
    "reply": "string",  # body of the answer as it came, "" if none
    "retry_after_s": "int32",  # the Retry-After of a 429 or 503; 0 if none
    "late_status": "int32",
    "late_ns": "int64",
}

# One row per ledger event that a subscriber received.
STREAM_COLUMNS: dict[str, str] = {
    "subscriber": "string",
    "connection": "int32",
    "symbol": "string",
    "seq": "int64",
    "received_ns": "int64",
    "event": "string",  # the event's JSON as it came
}

# The close code of a subscriber that disconnects on purpose to resume the stream. RFC 6455 reserves 4000 to 4999 for
# applications.
PLANNED_RECONNECT = 4000

# The end of the name of the subscribers that come, take one event and leave. Only their connections are recorded.
VISITOR = "-visitor"

# The end of the name of a subscriber that pauses reading for longer than buffers last.
SLOW_SUBSCRIBER = "-slow"

# One row per connection of a subscriber. `closed_ns` is 0 if the connection was open at the end of the load.
CONNECTION_COLUMNS: dict[str, str] = {
    "subscriber": "string",
    "connection": "int32",
    "symbol": "string",
    "after_seq": "int64",
    "dialed_ns": "int64",
    "opened_ns": "int64",  # 0 if the dial failed
    "closed_ns": "int64",
    "close_code": "int32",
    "error": "string",
}

# One row per ledger event of any market. Columns that an event type lacks hold ""/0.
LEDGER_EVENT_COLUMNS: dict[str, str] = {
    "market": "string",
    "seq": "int64",
    "type": "string",  # accepted | rejected | fill | cancelled
    "event_id": "string",  # the intake event that caused it
    "ts_ns": "int64",
    "order_id": "string",  # accepted, rejected, cancelled
    "client_id": "string",
    "idempotency_key": "string",
    "side": "string",
    "order_type": "string",
    "tif": "string",
    "qty": "int64",  # accepted: order quantity; fill: filled quantity; cancelled: quantity removed from the book
    "price": "int64",
    "reason": "string",  # rejected, cancelled
    "command": "string",  # rejected: order | cancel
    "trade_id": "string",  # this column and the ones below: fill only
    "taker_order_id": "string",
    "maker_order_id": "string",
    "taker_client_id": "string",
    "maker_client_id": "string",
    "taker_side": "string",
}

# One row per order in the orders table, which holds its current state.
ORDER_COLUMNS: dict[str, str] = {
    "order_id": "string",
    "client_id": "string",
    "idempotency_key": "string",
    "market": "string",
    "side": "string",
    "order_type": "string",
    "tif": "string",
    "qty": "int64",
    "price": "int64",
    "filled_qty": "int64",
    "status": "string",  # ACCEPTED | OPEN | PARTIALLY_FILLED | FILLED | CANCELLED | REJECTED
    "accepted_ns": "int64",
}

# One row per (client, market) in the positions table, whose balances are stored independently of the ledger.
POSITION_COLUMNS: dict[str, str] = {
    "client_id": "string",
    "market": "string",
    "qty": "int64",  # lots, bought minus sold
    "cash": "int64",  # ticks × lots, received minus paid
}

# One row per intake event that was marked as applied, so that it has no second effect if it is delivered again.
MARK_COLUMNS: dict[str, str] = {
    "market": "string",
    "event_id": "string",
    "expires_s": "int64",  # epoch seconds after which the store forgets the mark; 0 if it has no such time
}

# One row per point of a metric that was read from CloudWatch; `name` is the table's name in `kit.collect`.
SERIES_COLUMNS: dict[str, str] = {"name": "string", "t": "float64", "value": "float64"}

# One row per outbox entry: an accepted order that is not known to be in the queue yet.
OUTBOX_COLUMNS: dict[str, str] = {
    "market": "string",
    "event_id": "string",
    "order_id": "string",
    "accepted_ns": "int64",
}


def plain(value: Any, path: str) -> Any:
    """Convert to plain JSON types: numpy scalars and sequences are coerced, unknown types become text.

    Raises EvidenceMissing for NaN and infinity, which JSON numbers cannot express; the message names `path`.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise EvidenceMissing(f"{path}={value}: a record holds finite numbers only")
    return value if isinstance(value, bool | int | float | str) else str(value)
