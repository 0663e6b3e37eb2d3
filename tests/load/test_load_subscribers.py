"""Test that subscribers reconnect after a loss and miss nothing, against a real WebSocket server."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from kit.errors import UsageError
from kit.load import subscriber_habits, subscribers
from kit.load.subscribers import Subscribers
from kit.model import CONNECTION_COLUMNS, PLANNED_RECONNECT, STREAM_COLUMNS
from tests.load.load_exchange import plan_of, within


class Stream:
    """Sends events 1…n of one market and cuts each connection after a few of them, in the way `how` says."""

    def __init__(self, events: int, a_connection: int, how: str) -> None:
        self._events, self._a_connection, self._how = events, a_connection, how
        self.afters: list[int] = []

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        after = int(parse_qs(urlsplit(connection.request.path).query)["after"][0])
        self.afters.append(after)
        for seq in range(after + 1, min(after + self._a_connection, self._events) + 1):
            await connection.send(json.dumps({"market": "ACME", "seq": seq, "type": "accepted"}))
        if after + self._a_connection >= self._events:
            await connection.wait_closed()
        elif self._how == "cut":
            connection.transport.abort()
        else:
            await connection.close(4008, "too slow")


@pytest.fixture(autouse=True)
def short_quiet_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribers count as caught up after a fraction of a second without events instead of seconds."""
    monkeypatch.setattr(subscribers, "QUIET_S", 0.6)


def subscribe(stream: Stream) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
    """Run one subscriber until it has caught up, and return its rows."""

    async def main() -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
        rows: dict[str, list[dict[str, Any]]] = {"stream": [], "connections": []}
        columns = {"stream": list(STREAM_COLUMNS), "connections": list(CONNECTION_COLUMNS)}

        def add(table: str, row: tuple[Any, ...]) -> None:
            rows[table].append(dict(zip(columns[table], row, strict=True)))

        async with serve(stream, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            subscribed = Subscribers(plan_of(url, subscribers_per_market=1), add=add, epoch_ns=0)
            subscribed.start()
            caught_up = await subscribed.catch_up(give_up=lambda: False)
            await subscribed.close()
        return rows["stream"], rows["connections"], caught_up

    return within(main())


def test_subscriber_resumes_without_gaps_or_duplicates() -> None:
    """After each cut the subscriber asks for the events after the last one that it received."""
    stream = Stream(events=25, a_connection=10, how="cut")
    events, connections, caught_up = subscribe(stream)
    assert caught_up
    assert [event["seq"] for event in events] == list(range(1, 26))
    assert stream.afters == [0, 10, 20]
    assert [row["after_seq"] for row in connections] == stream.afters
    assert [row["close_code"] for row in connections] == [1006, 1006, 0]
    assert [row["closed_ns"] > 0 for row in connections] == [True, True, False]
    assert json.loads(events[0]["event"])["seq"] == 1
    assert {event["connection"] for event in events} == {0, 1, 2}


def test_one_subscriber_of_each_market_reconnects_regularly() -> None:
    """It resumes after the last event that it received. The other subscriber stays connected."""

    class Endless:
        afters: ClassVar[list[int]] = []

        async def __call__(self, connection: ServerConnection) -> None:
            assert connection.request is not None
            after = int(parse_qs(urlsplit(connection.request.path).query)["after"][0])
            self.afters.append(after)
            with contextlib.suppress(ConnectionClosed):
                for seq in itertools.count(after + 1):
                    await connection.send(json.dumps({"market": "ACME", "seq": seq, "type": "accepted"}))
                    await asyncio.sleep(0.01)

    async def main() -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {"stream": [], "connections": []}
        columns = {"stream": list(STREAM_COLUMNS), "connections": list(CONNECTION_COLUMNS)}

        resumed = asyncio.Event()

        def add(table: str, row: tuple[Any, ...]) -> None:
            made = dict(zip(columns[table], row, strict=True))
            rows[table].append(made)
            if table == "stream" and made["connection"] == 3:
                resumed.set()

        async with serve(Endless(), "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            plan = plan_of(url, subscribers_per_market=2, reconnect_every_s=0.2)
            subscribed = Subscribers(plan, add=add, epoch_ns=0)
            subscribed.start()
            await resumed.wait()
            await subscribed.close()
        return rows

    rows = within(main())
    reconnecting = [row for row in rows["connections"] if row["subscriber"] == "s-ACME-1"]
    assert [row["close_code"] for row in reconnecting] == [PLANNED_RECONNECT, PLANNED_RECONNECT, PLANNED_RECONNECT, 0]
    assert all(row["closed_ns"] > row["opened_ns"] for row in reconnecting[:3])
    assert reconnecting[-1]["after_seq"] > 0
    (steady,) = [row for row in rows["connections"] if row["subscriber"] == "s-ACME-0"]
    assert (steady["close_code"], steady["closed_ns"]) == (0, 0)
    for name in ("s-ACME-0", "s-ACME-1"):
        seen = [row["seq"] for row in rows["stream"] if row["subscriber"] == name]
        assert seen == list(range(1, len(seen) + 1))


def test_close_code_of_the_server_is_recorded() -> None:
    """A subscriber that the server closes as too slow reconnects as well."""
    events, connections, _ = subscribe(Stream(events=8, a_connection=5, how="close"))
    assert [event["seq"] for event in events] == list(range(1, 9))
    assert [row["close_code"] for row in connections] == [4008, 0]
    assert "too slow" in connections[0]["error"]


def test_failed_connection_is_recorded_and_repeated() -> None:
    """Each failed connection leaves a row that never opened, and catching up does not wait for ever."""

    async def main() -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        listening.close()
        plan = plan_of(f"http://127.0.0.1:{port}", subscribers_per_market=1)
        subscribed = Subscribers(plan, add=lambda _, row: rows.append(row), epoch_ns=0)
        subscribed.start()
        await asyncio.sleep(0.6)
        assert not await subscribed.catch_up(give_up=lambda: True)
        await subscribed.close()
        return rows

    rows = [dict(zip(CONNECTION_COLUMNS, row, strict=True)) for row in within(main())]
    assert len(rows) >= 2
    assert all(row["opened_ns"] == 0 and row["closed_ns"] >= row["dialed_ns"] and row["error"] for row in rows)


class Ledger:
    """Sends every event after `after`, one every `every_s`; sets `stalled` when a message cannot be sent for 0.2 s."""

    def __init__(self, every_s: float, text: str = "") -> None:
        self._every_s, self._text = every_s, text
        self.stalled = asyncio.Event()

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        after = int(parse_qs(urlsplit(connection.request.path).query)["after"][0])
        with contextlib.suppress(ConnectionClosed):
            for seq in itertools.count(after + 1):
                event = {"market": "ACME", "seq": seq, "type": "accepted", "text": self._text}
                sending = asyncio.create_task(connection.send(json.dumps(event)))
                if not (await asyncio.wait({sending}, timeout=0.2))[0]:
                    self.stalled.set()
                await sending
                await asyncio.sleep(self._every_s)


Rows = dict[str, list[dict[str, Any]]]


async def run_subscribers(ledger: Ledger, until: Callable[[Rows], bool], **changes: Any) -> Rows:
    """Run subscribers until their rows satisfy the condition, then let them end; return the rows."""
    rows: Rows = {"stream": [], "connections": []}
    columns = {"stream": list(STREAM_COLUMNS), "connections": list(CONNECTION_COLUMNS)}
    satisfied = asyncio.Event()

    def add(table: str, row: tuple[Any, ...]) -> None:
        rows[table].append(dict(zip(columns[table], row, strict=True)))
        if until(rows):
            satisfied.set()

    async with serve(ledger, "127.0.0.1", 0, write_limit=4_096) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        subscribed = Subscribers(plan_of(url, **changes), add=add, epoch_ns=0)
        subscribed.start()
        await asyncio.wait_for(satisfied.wait(), 15)
        await subscribed.close()
    return rows


def test_absent_subscriber_stays_away_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves on purpose, dials again no earlier than planned, after the last event that it received."""
    monkeypatch.setattr(subscriber_habits, "PRESENT_S", 0.1)
    came_back_twice = lambda rows: bool(rows["stream"]) and rows["stream"][-1]["connection"] == 2  # noqa: E731
    rows = within(run_subscribers(Ledger(every_s=0.01), came_back_twice, absent_s=0.3))
    first, second, third = rows["connections"]
    assert [row["close_code"] for row in (first, second, third)] == [PLANNED_RECONNECT, PLANNED_RECONNECT, 0]
    assert second["dialed_ns"] - first["closed_ns"] >= 0.29e9
    seen = [row["seq"] for row in rows["stream"]]
    assert seen == list(range(1, len(seen) + 1)) and second["after_seq"] > 0


def test_slow_subscriber_fills_every_buffer_and_then_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server cannot send any more while it pauses. The events come in order."""
    monkeypatch.setattr(subscribers, "READ_S", 0.0)
    ledger = Ledger(every_s=0.0, text="x" * 40_000)
    went_on = lambda rows: ledger.stalled.is_set() and len(rows["stream"]) > 3  # noqa: E731
    rows = within(run_subscribers(ledger, went_on, slow_pause_s=0.25))
    seen = [row["seq"] for row in rows["stream"]]
    assert seen == list(range(1, len(seen) + 1))
    assert {row["subscriber"] for row in rows["stream"]} == {"s-ACME-slow"}
    received_ns = [row["received_ns"] for row in rows["stream"]]
    assert min(later - earlier for earlier, later in itertools.pairwise(received_ns)) >= 0.24e9


def test_slow_subscriber_reads_a_share_of_what_the_others_receive() -> None:
    """It never stops, and falls behind by as much as it leaves unread."""
    behind: list[tuple[int, int]] = []

    def fell_behind(rows: Rows) -> bool:
        newest = dict.fromkeys(("s-ACME-0", "s-ACME-trickle-slow"), 0)
        for row in rows["stream"]:
            newest[row["subscriber"]] = row["seq"]
        behind.append((newest["s-ACME-trickle-slow"], newest["s-ACME-0"]))
        return newest["s-ACME-0"] >= 200

    changes = {"subscribers_per_market": 1, "trickle_share": 0.5}
    rows = within(run_subscribers(Ledger(every_s=0.005), fell_behind, **changes))
    seen = [row["seq"] for row in rows["stream"] if row["subscriber"] == "s-ACME-trickle-slow"]
    assert seen == list(range(1, len(seen) + 1))
    own, others = behind[-1]
    assert 50 < own <= 0.5 * others + 2 + seen[0]


def test_share_of_what_others_receive_needs_others() -> None:
    with pytest.raises(UsageError, match="trickle_share needs another subscriber"):
        plan_of("http://127.0.0.1:80", trickle_share=0.5)


def test_new_subscribers_read_the_ledger_from_its_beginning_and_leave() -> None:
    """Each reads up to what others had received when it came, and then leaves for good."""
    is_replay = lambda row: "replay" in row["subscriber"] and row["closed_ns"] > 0  # noqa: E731
    two_left = lambda rows: sum(map(is_replay, rows["connections"])) == 2  # noqa: E731
    changes = {"subscribers_per_market": 1, "replay_every_s": 0.3}
    rows = within(run_subscribers(Ledger(every_s=0.01), two_left, **changes))
    left = [*filter(is_replay, rows["connections"])]
    assert [row["subscriber"] for row in left] == ["s-ACME-replay0", "s-ACME-replay1"]
    assert [(row["after_seq"], row["close_code"]) for row in left] == [(0, PLANNED_RECONNECT)] * 2
    for row in left:
        seen = [event["seq"] for event in rows["stream"] if event["subscriber"] == row["subscriber"]]
        assert seen == list(range(1, len(seen) + 1)) and len(seen) > 5
