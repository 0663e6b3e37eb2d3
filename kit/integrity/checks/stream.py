"""Check what subscribers received against the ledger: the same events, in order, each once, across reconnects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.integrity.arrays.columns import Rows
from kit.integrity.arrays.grouping import paired, unpaired
from kit.integrity.evidence.client_tables import INFO
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Checks, Result, by_row
from kit.integrity.findings.counterexample import Step, Subject
from kit.model import NS_PER_S, PLANNED_RECONNECT, SLOW_SUBSCRIBER, VISITOR

CHECKS = Checks()

# A connected subscriber must have received an event by this time after the ledger's time of it.
SETTLE_NS = 10_000_000_000
# A commit may take so long, from the time that its events carry until they can be read.
COMMIT_NS_MAX = 10_000_000_000
# Longer than a client waits for an answer. If the load generator records nothing for this long while a request is in
# flight, not even that its time is over, its process stood still.
STALL_NS_MIN = 3_000_000_000
# Where more than this share of the requests failed or took as long as SLOW_NS, the stream was not alone.
SLOW_NS, SLOW_SHARE_MAX = 1_000_000_000, 0.5
# Fewer requests that ended in a wait of ten seconds say nothing about the rest of the system.
ENDED_MIN = 5
# What a counterexample shows: seqs on either side, and at most so many messages, connections and characters.
NEAR, MESSAGES_MAX, CONNECTIONS_MAX, EVENT_CHARS_MAX = 2, 8, 6, 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Ledger events of `symbol` that `subscriber` should have received and did not."""

    subscriber: int
    symbol: int
    seqs: np.ndarray


@CHECKS.add(
    "stream-equals-ledger",
    noun="streamed events",
    hold="equal the ledger's, and none is missing in the subscribed range",
    broke="differ from the ledger or are missing",
    needs=("stream", "connections", "events"),
    timed=True,
)
def stream_equals_ledger(evidence: Evidence) -> Result:
    """W1, W2. Check that subscribers received every ledger event of their range, as it is in the ledger.

    Each message equals the ledger event of its (market, seq). A subscriber's range starts after its first `after`. It
    ends with its last message, or with the last event `SETTLE_NS` before it disconnected if it had received nothing for
    that long. It ends with its last message if it left on purpose and for good. `measured` counts wrong and missing
    events.

    A market without a subscriber, or a subscriber that never got a connection, turns PASS into INVALID: nothing is
    known of what they would have received.
    """
    stream = evidence.stream
    wrong, missing = np.flatnonzero(stream["same"] == 0), list(_missing(evidence))
    absent = sum(len(one.seqs) for one in missing)

    def first() -> tuple[int, int, int]:
        if len(wrong):
            return tuple(int(stream[column][wrong[0]]) for column in ("subscriber", "symbol", "seq"))  # type: ignore[return-value]
        return missing[0].subscriber, missing[0].symbol, int(missing[0].seqs[0])

    def example() -> str:
        subscriber, symbol, seq = first()
        who, where = evidence.subscribers[subscriber], f"{evidence.markets[symbol]} seq {seq}"
        if len(wrong):
            return f"subscriber {who} got {where} with other content"
        return f"subscriber {who} never got {where}"

    return by_row(
        evidence,
        examined=len(stream),
        violations=len(wrong) + absent,
        example=example,
        subject=lambda: _around(evidence, *first()),
        inconclusive="" if absent or len(wrong) else _not_subscribed(evidence),
    )


def _not_subscribed(evidence: Evidence) -> str:
    """Say which subscriber never got a connection, or which market had no subscriber."""
    connections = _staying(evidence)
    heard = connections.where(connections["opened_ns"] > 0)
    wanted, got = (paired(rows["subscriber"], rows["symbol"]) for rows in (connections, heard))
    silent = np.setdiff1d(wanted, got)
    if len(silent):
        subscriber, symbol = unpaired(silent[0])
        return f"subscriber {evidence.subscribers[subscriber]} of {evidence.markets[symbol]} never got a connection"
    unheard = np.setdiff1d(list(evidence.market_ranges.by_market), heard["symbol"])
    return f"nobody subscribed to {evidence.markets[int(unheard[0])]}" if len(unheard) else ""


def _staying(evidence: Evidence) -> Rows:
    """Return the connections of subscribers whose messages are recorded."""
    names = [evidence.subscribers[number] for number in range(len(evidence.subscribers))]
    stays = np.array([not name.endswith(VISITOR) for name in names], dtype=bool)
    return evidence.connections.where(stays[evidence.connections["subscriber"]])


def _missing(evidence: Evidence) -> Iterator[Missing]:
    events, connections = evidence.events, _staying(evidence)
    received, last_ns = _received(evidence), _last_received_ns(evidence)
    end_ns = _last_ns(evidence)
    pairs = paired(connections["subscriber"], connections["symbol"])
    for pair in pd.unique(pairs).tolist():
        subscriber, symbol = unpaired(pair)
        mine = np.flatnonzero(pairs == pair)
        opened = mine[connections["opened_ns"][mine] > 0]
        if not len(opened) or symbol not in evidence.market_ranges.by_market:
            continue
        first, last = evidence.market_ranges.by_market[symbol]
        seqs, ts = events["seq"][first:last], events["ts_ns"][first:last]
        got = received.get(pair, np.zeros(0, dtype=np.int64))
        final = opened[np.argmax(connections["dialed_ns"][opened])]
        left = connections["close_code"][final] == PLANNED_RECONNECT
        left &= connections["dialed_ns"][final] == connections["dialed_ns"][mine].max()
        until_ns = 0 if left else int(connections["closed_ns"][final]) or end_ns
        if until_ns - max(last_ns.get(pair, 0), int(connections["opened_ns"][final])) <= SETTLE_NS:
            until_ns = 0  # It was still reading what came before.
        due = (seqs <= got.max(initial=0)) | (ts <= until_ns - SETTLE_NS)
        due &= seqs > connections["after_seq"][mine].min()
        absent = _missing_seqs(seqs[due], got)
        if absent.size:
            yield Missing(subscriber=subscriber, symbol=symbol, seqs=absent)


def _received(evidence: Evidence) -> dict[int, np.ndarray]:
    """Return the sequence numbers that each (subscriber, symbol) received."""
    stream = evidence.stream
    pairs, seq = paired(stream["subscriber"], stream["symbol"]), stream["seq"]
    return {pair: seq[pairs == pair] for pair in pd.unique(pairs).tolist()}


def _last_received_ns(evidence: Evidence) -> dict[int, int]:
    """Return when each (subscriber, symbol) received its last message."""
    pairs, received_ns = (
        paired(evidence.stream["subscriber"], evidence.stream["symbol"]),
        evidence.stream["received_ns"],
    )
    return {pair: int(received_ns[pairs == pair].max()) for pair in pd.unique(pairs).tolist()}


def _missing_seqs(seqs: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Return the `seqs` that are not in `got`. Both may hold repeats.

    A bit map is used where there are no large gaps.
    """
    if not len(seqs):
        return seqs
    low, high = int(seqs.min()), int(seqs.max())
    if high - low > 4 * (len(seqs) + len(got)):
        return np.setdiff1d(seqs, got)
    there = np.zeros(high - low + 1, dtype=bool)
    there[got[(got >= low) & (got <= high)] - low] = True
    return np.unique(seqs[~there[seqs - low]])


def _last_ns(evidence: Evidence) -> int:
    """Return the last time at which any subscriber is known to have been connected."""
    ends = [
        evidence.stream["received_ns"],
        evidence.connections["opened_ns"],
        evidence.connections["closed_ns"],
    ]
    return max(int(column.max()) for column in ends if len(column))


@CHECKS.add(
    "stream-in-order",
    noun="streamed events",
    hold="came in order, without a gap or a repeat",
    broke="came twice, out of order or after a gap",
    needs=("stream", "connections"),
)
def stream_in_order(evidence: Evidence) -> Result:
    """W3. Check that each subscriber received a market's events in order, without a gap or a repeat.

    In order of receipt over all connections, the first seq is the subscriber's first `after` + 1, and each next seq is
    one more, also after a reconnect. `measured` counts the breaks.
    """
    stream, order = evidence.stream, _by_receipt(evidence)
    pairs = paired(stream["subscriber"], stream["symbol"])[order]
    seq = stream["seq"][order].astype(np.int64)
    before = np.concatenate([[0], seq[:-1]])
    opening = np.concatenate([[0], np.flatnonzero(np.diff(pairs)) + 1]) if len(pairs) else np.zeros(0, dtype=np.int64)
    first_after = _first_after(evidence)
    before[opening] = [first_after.get(pair, 0) for pair in pairs[opening].tolist()]
    bad = np.flatnonzero(seq != before + 1)

    def first() -> tuple[int, int, int]:
        return *unpaired(pairs[bad[0]]), int(seq[bad[0]])

    def example() -> str:
        subscriber, symbol, number = first()
        return (
            f"subscriber {evidence.subscribers[subscriber]} got {evidence.markets[symbol]} seq {number} where "
            f"{before[bad[0]] + 1} was next (connection {stream['connection'][order[bad[0]]]})"
        )

    return by_row(
        evidence,
        examined=len(seq),
        violations=len(bad),
        example=example,
        subject=lambda: _around(evidence, *first()),
    )


def _by_receipt(evidence: Evidence) -> np.ndarray:
    """Return the indices of the messages, sorted by (subscriber, symbol), connection and time."""
    stream = evidence.stream
    pairs = paired(stream["subscriber"], stream["symbol"])
    group, _ = pd.factorize(pairs)
    group = group.astype(np.int16 if len(group) and group.max() < 2**15 else np.int32)
    order = np.argsort(group, kind="stable")
    connection, received = stream["connection"][order], stream["received_ns"][order]
    # Messages are mostly recorded as they come, so that they are in order already.
    behind = (np.diff(connection) < 0) | ((np.diff(connection) == 0) & (np.diff(received) < 0))
    if not (behind & (np.diff(group[order]) == 0)).any():
        return order
    return np.lexsort((stream["received_ns"], stream["connection"], group))


def _first_after(evidence: Evidence) -> dict[int, int]:
    """Return the smallest `after` of each (subscriber, symbol)."""
    connections = evidence.connections
    pairs, after = paired(connections["subscriber"], connections["symbol"]), connections["after_seq"]
    return {pair: int(after[pairs == pair].min()) for pair in pd.unique(pairs).tolist()}


@CHECKS.add(
    "stream-on-time",
    noun="streamed events",
    hold="came within 10 s",
    broke="came more than 10 s late",
    needs=("stream", "connections", "events", "attempts"),
    timed=True,
)
def stream_on_time(evidence: Evidence) -> Result:
    """Check that no connected subscriber waits for an event longer than `SETTLE_NS`.

    The wait begins with the latest of: the event's commit (see `_committed_ns`), the opening of the connection, and the
    message before on the same connection. Left out are times in which the load generator stood still, waits during
    which most requests failed or were slow, and subscribers that pause reading (`SLOW_SUBSCRIBER`).
    """
    stream, order = evidence.stream, _by_receipt(evidence)
    indices = evidence.market_ranges.find(evidence.events, stream["symbol"], stream["seq"])
    since_ns = np.maximum(_committed_ns(evidence)[indices], _opened_ns(evidence))[order]
    received_ns, connection = stream["received_ns"][order], _connection(stream)[order]
    follows = np.append(False, connection[1:] == connection[:-1])
    before_ns = np.where(follows, np.append(0, received_ns[:-1]), 0)
    waited_ns = received_ns - np.maximum(since_ns, before_ns)
    judged = (indices[order] >= 0) & _reads_promptly(evidence)[stream["subscriber"][order]]
    late = np.flatnonzero(judged & (waited_ns > SETTLE_NS))
    begin_ns, end_ns = (received_ns - waited_ns)[late], received_ns[late]
    is_long = waited_ns[late] - _stood_still_ns(evidence, begin_ns, end_ns) > SETTLE_NS
    bad = late[is_long & (_slow_share(evidence, begin_ns, end_ns) <= SLOW_SHARE_MAX)]

    def first() -> tuple[int, int, int]:
        at = order[bad[0]]
        return int(stream["subscriber"][at]), int(stream["symbol"][at]), int(stream["seq"][at])

    def example() -> str:
        subscriber, symbol, seq = first()
        where = f"{evidence.markets[symbol]} seq {seq}"
        return f"subscriber {evidence.subscribers[subscriber]} waited {waited_ns[bad[0]] / NS_PER_S:.1f} s for {where}"

    return by_row(
        evidence,
        examined=int(judged.sum()),
        violations=len(bad),
        example=example,
        subject=lambda: _around(evidence, *first()),
    )


def _committed_ns(evidence: Evidence) -> np.ndarray:
    """Return a time by which each event surely was in the ledger.

    An event carries the time at which its matcher planned the commit. The market's next commit was planned after this
    one was done, so that its time is a bound; one of more than `COMMIT_NS_MAX` comes from a pause of the market.
    """
    market, ts_ns = evidence.events["market"], evidence.events["ts_ns"]
    is_last = np.append((np.diff(ts_ns) != 0) | (np.diff(market) != 0), True)
    lasts = np.flatnonzero(is_last)
    following = np.minimum(lasts + 1, len(ts_ns) - 1)
    bound_ns = np.where(market[following] == market[lasts], ts_ns[following], ts_ns[lasts])
    sizes = np.diff(np.append(-1, lasts))
    return np.minimum(np.maximum(np.repeat(bound_ns, sizes), ts_ns), ts_ns + COMMIT_NS_MAX)


def _stood_still_ns(evidence: Evidence, begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
    """Return for how long of each wait the load generator's process stood still."""
    if not len(begin_ns):
        return np.zeros(0, dtype=np.int64)
    attempts, connections = evidence.attempts, evidence.connections
    done_ns = np.sort(attempts["completed_ns"])
    sent_ns = np.sort(attempts["invoked_ns"])
    seen = [done_ns, sent_ns, evidence.stream["received_ns"]]
    seen += [attempts["late_ns"], connections["opened_ns"], connections["closed_ns"]]
    times_ns = np.unique(np.concatenate(seen))
    gaps = np.flatnonzero(np.diff(times_ns) >= STALL_NS_MIN)
    starts_ns, ends_ns = times_ns[gaps], times_ns[gaps + 1]
    in_flight = np.searchsorted(sent_ns, starts_ns, "right") > np.searchsorted(done_ns, starts_ns, "right")
    starts_ns, ends_ns = starts_ns[in_flight], ends_ns[in_flight]
    shared = np.minimum(ends_ns, end_ns[:, None]) - np.maximum(starts_ns, begin_ns[:, None])
    return np.maximum(shared, 0).sum(axis=1)


def _slow_share(evidence: Evidence, begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
    """Return for each wait which share of the attempts that ended in it failed or was slow; 0 if only a few ended."""
    done_ns, sent_ns = evidence.attempts["completed_ns"], evidence.attempts["invoked_ns"]
    slow = (done_ns - sent_ns >= SLOW_NS) | (evidence.attempts["outcome"] == INFO)
    ended, slowly = (_counted(times, begin_ns, end_ns) for times in (done_ns, done_ns[slow]))
    return np.where(ended >= ENDED_MIN, slowly / np.maximum(ended, 1), 0.0)


def _counted(times_ns: np.ndarray, begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
    times_ns = np.sort(times_ns)
    return np.searchsorted(times_ns, end_ns, "right") - np.searchsorted(times_ns, begin_ns, "left")


def _reads_promptly(evidence: Evidence) -> np.ndarray:
    names = [evidence.subscribers[number] for number in range(len(evidence.subscribers))]
    return np.array([not name.endswith(SLOW_SUBSCRIBER) for name in names], dtype=bool)


def _connection(table: Rows) -> np.ndarray:
    """Return one number for each row, equal for rows of the same connection of the same subscriber."""
    return paired(table["subscriber"], table["connection"])


def _opened_ns(evidence: Evidence) -> np.ndarray:
    """Return for each message when its connection was opened; 0 where that is not known."""
    numbers, opened_ns = _connection(evidence.connections).tolist(), evidence.connections["opened_ns"].tolist()
    opened = dict(zip(numbers, opened_ns, strict=True))
    connections, positions = np.unique(_connection(evidence.stream), return_inverse=True)
    return np.array([opened.get(one, 0) for one in connections.tolist()], dtype=np.int64)[positions]


def _around(evidence: Evidence, subscriber: int, symbol: int, seq: int) -> Subject:
    """Show the ledger around `seq`, what the subscriber got of it, and its connections."""
    stream, connections = evidence.stream, evidence.connections
    near = (stream["subscriber"] == subscriber) & (stream["symbol"] == symbol) & (np.abs(stream["seq"] - seq) <= NEAR)
    steps = []
    for row in evidence.rows("stream", np.flatnonzero(near)[:MESSAGES_MAX]):
        text = row["event"][:EVENT_CHARS_MAX]
        what = f"{row['subscriber']} receives {row['symbol']} seq {row['seq']}: {text}"
        steps.append(_step(row["received_ns"], what, row["seq"]))
    own = np.flatnonzero((connections["subscriber"] == subscriber) & (connections["symbol"] == symbol))
    for row in evidence.rows("connections", own[:CONNECTIONS_MAX]):
        steps.append(_step(row["dialed_ns"], f"{row['subscriber']} connects (after={row['after_seq']})"))
        if row["closed_ns"]:
            planned = row["close_code"] == PLANNED_RECONNECT
            lost = "disconnects as planned" if planned else f"loses its connection ({row['close_code']})"
            steps.append(_step(row["closed_ns"], f"{row['subscriber']} {lost}"))
    return Subject(stretch=(symbol, seq - 1, seq + 1), steps=tuple(steps))


def _step(ns: int, what: str, seq: int = 0) -> Step:
    return {"t": ns / NS_PER_S, "what": what, "source": "stream", "seq": seq}
