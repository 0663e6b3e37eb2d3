"""PaperBroker's matcher and the reference book, two independent implementations, agree on any commands."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pandas as pd
import pytest

from kit.model import LEDGER_EVENT_COLUMNS, Status
from paperbroker.domain.book import Book
from paperbroker.domain.events import IntakeEvent
from paperbroker.domain.matching import match
from tests.histories.run_folder import judge


def commands(seed: int, count: int, doubled: float) -> list[IntakeEvent]:
    """Crossing orders, many small against few large, and all kinds of cancels. Some orders are accepted twice."""
    draw = random.Random(seed)
    # Few clients trade with themselves. Many clients with prices that rarely cross fill the book to the fill limit.
    clients, reach = ((6, 5), (400, 0))[seed % 2]
    made: list[IntakeEvent] = []
    for n in range(count):
        client = f"c{draw.randrange(clients)}"
        common = {"event_id": f"e{n}", "market": "ACME", "idempotency_key": f"k{n}", "accepted_at_ns": n}
        if made and draw.random() < 0.12:
            order, owner = draw.choice(made), draw.random() < 0.8
            name = order.order_id if draw.random() < 0.9 else "nobody"
            who = order.client_id if owner else client
            made.append(IntakeEvent(type="CancelRequested", order_id=name, client_id=who, **common))
            continue
        if made and draw.random() < doubled:
            made.append(replace(draw.choice(made), event_id=f"e{n}"))
            continue
        is_market, is_large, buys = draw.random() < 0.03, draw.random() < 0.03, draw.random() < 0.5
        away = draw.randint(-reach, 5) if not is_large else -5
        order = IntakeEvent(
            type="OrderAccepted",
            order_id=f"o{n}",
            client_id=client,
            side="BUY" if buys else "SELL",
            order_type="MARKET" if is_market else "LIMIT",
            tif="IOC" if is_market or draw.random() < 0.1 else "GTC",
            qty=200 if is_large else draw.randint(1, 4),
            price=0 if is_market else 100 + (-away if buys else away),
            **common,
        )
        made.append(order)
    return made


def ledger(wanted: list[IntakeEvent]) -> pd.DataFrame:
    book, rows = Book(), []
    for command in wanted:
        for event in match(book, command, seq=len(rows), ts_ns=1):
            book.apply(event)
            rows.append(asdict(event))
    return pd.DataFrame({name: [row[name] for row in rows] for name in LEDGER_EVENT_COLUMNS})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("doubled", [0.0, 0.1])
def test_the_replay_agrees_with_the_matcher(seed, doubled):
    # A doubled order breaks the rules of trading; the replay still follows what was sequenced.
    names = ["price-time-replay"] if doubled else ["price-time-replay", "fills-are-legal", "fill-parties-exist"]
    for found in judge({"events": ledger(commands(seed, 600, doubled))}, *names).values():
        assert found.status is Status.PASS, found.detail


def test_these_commands_meet_every_rule():
    """Otherwise the agreement above would not cover the rule."""
    events = pd.concat([ledger(commands(seed, 600, 0.0)) for seed in range(4)])
    assert {"accepted", "fill", "cancelled", "rejected"} == set(events["type"])
    wanted = {"MatchLimitExceeded", "self_trade", "ioc", "client", "AlreadyDone", "NotOwner", "UnknownOrder"}
    assert wanted <= set(events["reason"])
