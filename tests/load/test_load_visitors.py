"""Visitors take one event and leave, in two ways, and record how each of their connections ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from kit.load import visitors
from kit.load.visitors import Visitors
from kit.model import CONNECTION_COLUMNS, PLANNED_RECONNECT, VISITOR
from tests.load.load_exchange import plan_of, within

TRY_ELSEWHERE = 1013


class Door:
    """Serves one event to as many subscribers as it has places, and sends all others away."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.left: list[int | None] = []

    async def __call__(self, connection: ServerConnection) -> None:
        if not self._places:
            await connection.close(TRY_ELSEWHERE, "too many subscribers here")
            return
        self._places -= 1
        await connection.send(json.dumps({"market": "ACME", "seq": 8}))
        await connection.wait_closed()
        self.left.append(connection.close_code)


def visits(door: Any, count: int) -> list[dict[str, Any]]:
    """Send so many visitors and return their rows."""

    async def main() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        ending = asyncio.Event()

        def add(table: str, row: tuple[Any, ...]) -> None:
            assert table == "connections"
            rows.append(dict(zip(CONNECTION_COLUMNS, row, strict=True)))
            if len(rows) == count:
                ending.set()

        async with serve(door, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            plan = plan_of(url, visits_per_s=100.0)
            async with asyncio.timeout(10):
                await Visitors(plan, add=add, epoch_ns=0, newest=lambda _: 8).run(ending)
        return rows

    return within(main())


def test_visitors_leave_with_and_without_a_closing_handshake() -> None:
    door = Door(places=100)
    rows = visits(door, 10)
    assert {row["close_code"] for row in rows} == {PLANNED_RECONNECT}
    assert {row["after_seq"] for row in rows} == {7} and {row["subscriber"] for row in rows} == {f"s-ACME{VISITOR}"}
    assert len({row["connection"] for row in rows}) == len(rows) >= 10
    assert all(0 < row["dialed_ns"] <= row["opened_ns"] <= row["closed_ns"] for row in rows)
    assert set(door.left) == {PLANNED_RECONNECT, 1006}


def test_a_visitor_that_is_sent_away_records_the_servers_code() -> None:
    rows = sorted(visits(Door(places=4), 10), key=lambda row: row["opened_ns"])
    assert [row["close_code"] for row in rows[:3]] == [PLANNED_RECONNECT] * 3
    assert {row["close_code"] for row in rows[5:]} == {TRY_ELSEWHERE}


def test_a_visitor_leaves_a_market_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "FIRST_EVENT_S_MAX", 0.05)

    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    assert {row["close_code"] for row in visits(silent, 3)} == {PLANNED_RECONNECT}


def test_a_plan_without_visits_sends_none() -> None:
    """It ends although the load has not ended."""
    recorded: list[str] = []

    async def main() -> None:
        plan = plan_of("http://127.0.0.1:9")
        visitors_of_none = Visitors(plan, add=lambda table, _: recorded.append(table), epoch_ns=0, newest=lambda _: 0)
        await visitors_of_none.run(asyncio.Event())

    within(main())
    assert recorded == []
