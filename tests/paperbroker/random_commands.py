"""Random intake events for one market: few clients and prices, so that orders meet, trade and are cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from paperbroker.domain.events import IntakeEvent, LedgerEvent

MARKET = "ACME"
# No time limit per example, because machines are shared.
PROPERTY = settings(max_examples=50, deadline=None, database=None)
CODES = 4 * 8 * 4 * 4 * 2 * 9 * 6


def command(n: int, code: int) -> IntakeEvent:
    """Decode event `n` from one integer, which is quick to draw: mostly orders, else a cancel of a possible order."""

    def pick(choices: Sequence[Any]) -> Any:
        nonlocal code
        code, index = divmod(code, len(choices))
        return choices[index]

    common: dict[str, Any] = {
        "event_id": f"e{n}",
        "market": MARKET,
        "client_id": pick("abcd"),
        "idempotency_key": f"k{n}",
        "accepted_at_ns": n,
    }
    if pick(range(8)) == 7 and n:
        return IntakeEvent(type="CancelRequested", order_id=f"o{code % (n + 1)}", **common)
    kind = pick(("LIMIT", "LIMIT", "LIMIT", "MARKET"))
    tif = pick(("GTC", "GTC", "GTC", "IOC"))
    return IntakeEvent(
        type="OrderAccepted",
        order_id=f"o{n}",
        side=pick(("BUY", "SELL")),
        order_type=kind,
        tif="IOC" if kind == "MARKET" else tif,
        qty=pick(range(1, 10)),
        price=0 if kind == "MARKET" else pick(range(98, 104)),
        **common,
    )


def commands(max_size: int = 40) -> st.SearchStrategy[list[IntakeEvent]]:
    codes = st.lists(st.integers(0, CODES - 1), min_size=1, max_size=max_size)
    return codes.map(lambda drawn: [command(n, code) for n, code in enumerate(drawn)])


def timeless(events: Sequence[LedgerEvent]) -> list[dict[str, str | int]]:
    """Return the events without their timestamps."""
    return [{name: value for name, value in e.to_record().items() if name != "tsNs"} for e in events]
