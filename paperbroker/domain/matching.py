"""Price-time matching: turn one command and the book into ledger events.

Pure and deterministic: the same sequenced commands give the same fills. The book is only read; applying the events
changes it (`Book.apply`).

Rules: a fill trades at the maker's price. A taker that meets an order of its own client stops there, and its remainder
is cancelled (self_trade). The remainder of an IOC or MARKET order is cancelled (ioc). A command that would need more
than FILLS_MAX fills is rejected as a whole (MatchLimitExceeded), because its writes must fit one DynamoDB transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paperbroker.domain.book import Book, Resting
from paperbroker.domain.events import Command, IntakeEvent, IntakeType, LedgerEvent, LedgerType, Reason
from paperbroker.domain.orders import OrderType, Side, TimeInForce

FILLS_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """The fills of a taker in order, and whether its own client's order or FILLS_MAX stopped it."""

    fills: tuple[tuple[Resting, int], ...]
    left: int
    met_itself: bool = False
    too_many: bool = False


def match(book: Book, command: IntakeEvent, *, seq: int, ts_ns: int) -> list[LedgerEvent]:
    """Return the ledger events of `command`, numbered from `seq` + 1; at least one."""
    write = _Writer(command, seq, ts_ns)
    if command.type == IntakeType.CANCEL_REQUESTED:
        _cancel(book, command, write)
    else:
        _order(book, command, write)
    return write.events


class _Writer:
    """Numbers the events of one command."""

    def __init__(self, command: IntakeEvent, seq: int, ts_ns: int) -> None:
        self._common: dict[str, Any] = {"market": command.market, "event_id": command.event_id, "ts_ns": ts_ns}
        self._seq = seq
        self.events: list[LedgerEvent] = []

    @property
    def next_seq(self) -> int:
        return self._seq + len(self.events) + 1

    def __call__(self, kind: LedgerType, **fields: Any) -> None:
        self.events.append(LedgerEvent(seq=self.next_seq, type=kind.value, **self._common, **fields))


def _order(book: Book, command: IntakeEvent, write: _Writer) -> None:
    order: dict[str, Any] = {
        "order_id": command.order_id,
        "client_id": command.client_id,
        "idempotency_key": command.idempotency_key,
        "side": command.side,
        "order_type": command.order_type,
        "tif": command.tif,
        "price": command.price,
    }
    walk = _walk(book, command)
    if walk.too_many:
        write(
            LedgerType.REJECTED, qty=command.qty, reason=Reason.MATCH_LIMIT.value, command=Command.ORDER.value, **order
        )
        return
    write(LedgerType.ACCEPTED, qty=command.qty, **order)
    for maker, qty in walk.fills:
        write(
            LedgerType.FILL,
            qty=qty,
            price=maker.price,
            trade_id=f"{command.market}-{write.next_seq}",
            taker_order_id=command.order_id,
            maker_order_id=maker.order_id,
            taker_client_id=command.client_id,
            maker_client_id=maker.client_id,
            taker_side=command.side,
        )
    rests = command.order_type == OrderType.LIMIT and command.tif == TimeInForce.GTC
    if walk.left and (walk.met_itself or not rests):
        reason = Reason.SELF_TRADE if walk.met_itself else Reason.IOC
        write(LedgerType.CANCELLED, qty=walk.left, reason=reason.value, **order)


def _walk(book: Book, command: IntakeEvent) -> _Walk:
    side = Side(command.side)
    left = command.qty
    fills: list[tuple[Resting, int]] = []
    for maker in book.opposite(side):
        if not left or not _crosses(command, side, maker.price):
            break
        if maker.client_id == command.client_id:
            return _Walk(fills=tuple(fills), left=left, met_itself=True)
        if len(fills) == FILLS_MAX:
            return _Walk(fills=(), left=command.qty, too_many=True)
        qty = min(left, maker.qty)
        fills.append((maker, qty))
        left -= qty
    return _Walk(fills=tuple(fills), left=left)


def _crosses(command: IntakeEvent, side: Side, price: int) -> bool:
    if command.order_type == OrderType.MARKET:
        return True
    return price <= command.price if side is Side.BUY else price >= command.price


def _cancel(book: Book, command: IntakeEvent, write: _Writer) -> None:
    resting = book.of_order(command.order_id)
    refusal = _refusal(book.owner(command.order_id), command.client_id, bool(resting))
    if refusal is not None:
        write(
            LedgerType.REJECTED,
            order_id=command.order_id,
            client_id=command.client_id,
            idempotency_key=command.idempotency_key,
            reason=refusal.value,
            command=Command.CANCEL.value,
        )
        return
    for entry in resting:
        write(
            LedgerType.CANCELLED,
            order_id=entry.order_id,
            client_id=entry.client_id,
            idempotency_key=command.idempotency_key,
            side=entry.side.value,
            order_type=OrderType.LIMIT.value,
            tif=entry.tif,
            qty=entry.qty,
            price=entry.price,
            reason=Reason.CLIENT.value,
        )


def _refusal(owner: str | None, client_id: str, rests: bool) -> Reason | None:
    if owner is None:
        return Reason.UNKNOWN_ORDER
    if owner != client_id:
        return Reason.NOT_OWNER
    return None if rests else Reason.ALREADY_DONE
