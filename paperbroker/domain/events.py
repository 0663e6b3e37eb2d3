"""Intake events (intake to matcher) and ledger events (matcher to ledger): their fields and their JSON form.

The JSON form is camelCase and the same in the queue, the tables and the stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class IntakeType(StrEnum):
    ORDER_ACCEPTED = "OrderAccepted"
    CANCEL_REQUESTED = "CancelRequested"


class LedgerType(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FILL = "fill"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why an order was rejected or cancelled."""

    MATCH_LIMIT = "MatchLimitExceeded"
    UNKNOWN_ORDER = "UnknownOrder"
    ALREADY_DONE = "AlreadyDone"
    NOT_OWNER = "NotOwner"
    SELF_TRADE = "self_trade"
    IOC = "ioc"
    CLIENT = "client"


class Command(StrEnum):
    """What a rejected event rejected."""

    ORDER = "order"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeEvent:
    """One accepted request that is to be sequenced. A cancel has no side, type, tif, qty or price."""

    event_id: str
    type: str
    market: str
    order_id: str
    client_id: str
    idempotency_key: str
    side: str = ""
    order_type: str = ""
    tif: str = ""
    qty: int = 0
    price: int = 0
    accepted_at_ns: int
    trace_id: str = ""

    def to_json(self) -> str:
        return _json({_CAMEL[f.name]: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def from_json(cls, text: str) -> IntakeEvent:
        """Parse a message body. Raises ValueError if it is not an intake event."""
        body = json.loads(text)
        try:
            event = cls(**{f.name: body[_CAMEL[f.name]] for f in fields(cls)})
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not an intake event ({exc!r}): {text[:200]}") from exc
        if event.type not in set(IntakeType) or not isinstance(event.qty, int) or not isinstance(event.price, int):
            raise ValueError(f"not an intake event: {text[:200]}")
        return event


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """One row of a market's ledger. Fields that a type lacks are ""/0.

    accepted: the whole order · rejected: what was refused, `reason`, `command` · fill: both sides, at the maker's
    price · cancelled: `qty` taken off the book (or never put on it), `reason`; for a client's cancel the
    idempotency key is the cancel's, else the order's.
    """

    market: str
    seq: int
    type: str
    event_id: str
    ts_ns: int
    order_id: str = ""
    client_id: str = ""
    idempotency_key: str = ""
    side: str = ""
    order_type: str = ""
    tif: str = ""
    qty: int = 0
    price: int = 0
    reason: str = ""
    command: str = ""
    trade_id: str = ""
    taker_order_id: str = ""
    maker_order_id: str = ""
    taker_client_id: str = ""
    maker_client_id: str = ""
    taker_side: str = ""

    def to_record(self) -> dict[str, str | int]:
        """Return the camelCase record without empty fields; orders keep price 0, which means MARKET."""
        record = {name: value for field, name in _LEDGER_NAMES if (value := getattr(self, field)) not in ("", 0)}
        if self.order_type:
            record.setdefault("price", 0)
        return record

    def to_json(self) -> str:
        return _json(self.to_record())

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LedgerEvent:
        return cls(**{field: record[name] for field, name in _LEDGER_NAMES if name in record})


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


_CAMEL = {f.name: _camel(f.name) for cls in (IntakeEvent, LedgerEvent) for f in fields(cls)}
_LEDGER_NAMES = tuple((f.name, _CAMEL[f.name]) for f in fields(LedgerEvent))
