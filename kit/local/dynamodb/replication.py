"""Global tables: writes reach the other regions later, and the last writer wins.

Owns what is on its way between replicas, and who paused it. MiniStack applies a write to every replica at once; its
`_replicate_write` is replaced by `send`. Must not know limits, locks or FIS.
"""

from __future__ import annotations

import asyncio
import copy
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import dynamodb

from kit.errors import UsageError
from kit.local.dynamodb.tables import NO_SORT_KEY

# AWS says "usually within a second".
LAG_S = (0.3, 0.9)
# Applied in one go before others get the loop again; a resumed table may have thousands waiting.
DELIVERED_AT_ONCE_MAX = 200
# Beyond this many writes on their way, only the latest of each item is kept.
WAITING_MAX = 10_000
# Beyond this many remembered last writers, those that nothing on its way can meet any more are forgotten.
STAMPS_MAX = 50_000

# Account and table; a replica is one in a region.
Group = tuple[str, str]
Replica = tuple[str, str, str]
# When an item was written, and where: the order of writers.
Stamp = tuple[float, str]
Latency = Callable[[str, str, str, str, float], None]


class NotReplicated(UsageError):
    """The table is no global table's replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write on its way; no item means a delete."""

    key: tuple[Any, Any]
    item: dict[str, Any] | None
    stamp: Stamp
    due_s: float


@dataclass(slots=True)
class Link:
    """From one region's replica to another's."""

    group: Group
    source: str
    target: str
    waiting: deque[Write] = field(default_factory=deque)
    timer: asyncio.TimerHandle | None = None
    # Compacted when this long; doubled where compaction did not help.
    compact_at: int = WAITING_MAX


class Replication:
    """All links of all global tables; lives on one loop."""

    def __init__(self, seed: int, latency: Latency) -> None:
        self._random = random.Random(f"replication-{seed}")
        self._latency = latency
        self._links: dict[tuple[Group, str, str], Link] = {}
        self._stamps: dict[tuple[Replica, Any, Any], Stamp] = {}
        self._pauses: dict[Replica, set[str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Take the running loop."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Drop what is on its way."""
        for link in self._links.values():
            if link.timer is not None:
                link.timer.cancel()
        self._links.clear()

    def pause(self, table_arn: str, owner: str) -> None:
        """Nothing leaves or reaches this replica until every owner resumed; raises NotReplicated."""
        replica = _replica(table_arn)
        record = dynamodb._tables.get_scoped(*replica)
        if record is None or not dynamodb._replica_group(record):
            raise NotReplicated(f"table {table_arn} has no replica in another region")
        self._pauses.setdefault(replica, set()).add(owner)

    def resume(self, table_arn: str, owner: str) -> None:
        """Let it catch up. An owner that did not pause it changes nothing."""
        replica = _replica(table_arn)
        owners = self._pauses.get(replica, set())
        owners.discard(owner)
        if owners:
            return
        self._pauses.pop(replica, None)
        for link in self._links.values():
            self._schedule(link)

    def send(self, record: dict[str, Any], _event: str, old: Any, new: Any) -> None:
        """A write was applied in the caller's region: let the others know."""
        regions = dynamodb._replica_group(record)
        if not regions:
            return
        account, home, name = get_account_id(), get_region(), record["TableName"]
        stamp = (time.time(), home)
        key = _key(record, new if new is not None else old)
        self._stamp((account, home, name), key, stamp)
        item = copy.deepcopy(new)
        for region in regions:
            if region != home:
                link = self._link((account, name), home, region)
                self._wait(link, key, item, stamp)

    def forget(self, name: str, region: str) -> None:
        """A replica was made, with all items, or is gone: what was on its way concerns nobody."""
        group = (get_account_id(), name)
        for link in self._links.values():
            if link.group == group and region in (link.source, link.target):
                link.waiting.clear()
        gone = (group[0], region, name)
        self._stamps = {known: stamp for known, stamp in self._stamps.items() if known[0] != gone}

    def _link(self, group: Group, source: str, target: str) -> Link:
        found = self._links.get((group, source, target))
        if found is None:
            found = self._links[(group, source, target)] = Link(group=group, source=source, target=target)
        return found

    def _wait(self, link: Link, key: tuple[Any, Any], item: dict[str, Any] | None, stamp: Stamp) -> None:
        assert self._loop is not None
        due_s = self._loop.time() + self._random.uniform(*LAG_S)
        # A link keeps its order.
        if link.waiting:
            due_s = max(due_s, link.waiting[-1].due_s)
        link.waiting.append(Write(key=key, item=item, stamp=stamp, due_s=due_s))
        if len(link.waiting) >= link.compact_at:
            latest = {write.key: write for write in link.waiting}
            link.waiting = deque(sorted(latest.values(), key=lambda write: write.due_s))
            link.compact_at = max(WAITING_MAX, 2 * len(link.waiting))
        self._schedule(link)

    def _is_paused(self, link: Link) -> bool:
        account, name = link.group
        return any((account, region, name) in self._pauses for region in (link.source, link.target))

    def _schedule(self, link: Link) -> None:
        if self._loop is None or link.timer is not None or not link.waiting or self._is_paused(link):
            return
        link.timer = self._loop.call_at(link.waiting[0].due_s, self._deliver, link)

    def _deliver(self, link: Link) -> None:
        link.timer = None
        if self._loop is None or self._is_paused(link):
            return
        # The loop's timers have milliseconds and may fire one too early.
        now_s = self._loop.time() + 0.001
        try:
            with request_scope(link.group[0], link.target):
                for _ in range(DELIVERED_AT_ONCE_MAX):
                    if not link.waiting or link.waiting[0].due_s > now_s:
                        break
                    self._apply(link, link.waiting.popleft())
        finally:
            # A write that cannot be applied must not hold up those behind it.
            self._schedule(link)

    def _apply(self, link: Link, write: Write) -> None:
        account, name = link.group
        record = dynamodb._tables.get(name)
        if record is None or link.source not in dynamodb._replica_group(record):
            return
        replica = (account, link.target, name)
        if self._stamps.get((replica, *write.key), (0.0, "")) > write.stamp:
            return
        self._stamp(replica, write.key, write.stamp)
        previous = record["items"].get(write.key[0], {}).get(write.key[1])
        if write.item is not None:
            dynamodb._set_item(record, *write.key, copy.deepcopy(write.item))
        elif previous is not None:
            dynamodb._remove_item(record, *write.key)
        if write.item is not None or previous is not None:
            event = "REMOVE" if write.item is None else "MODIFY" if previous else "INSERT"
            dynamodb._emit_stream_event(name, event, previous, copy.deepcopy(write.item), replicate=False)
        self._latency(account, link.source, name, link.target, time.time() - write.stamp[0])

    def _stamp(self, replica: Replica, key: tuple[Any, Any], stamp: Stamp) -> None:
        if len(self._stamps) >= STAMPS_MAX:
            self._forget_settled()
        self._stamps[(replica, *key)] = stamp

    def _forget_settled(self) -> None:
        """Nothing older than the oldest write on its way can come any more; half of them go in any case."""
        oldest = min((link.waiting[0].stamp[0] for link in self._links.values() if link.waiting), default=time.time())
        kept = {known: stamp for known, stamp in self._stamps.items() if stamp[0] >= oldest}
        self._stamps = dict(sorted(kept.items(), key=lambda each: each[1])[-STAMPS_MAX // 2 :])


def _replica(table_arn: str) -> Replica:
    spec = parse_arn(table_arn)
    return spec.account_id, spec.region, spec.resource.removeprefix("table/")


def _key(record: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[Any, Any]:
    pk = dynamodb._extract_key_val(item.get(record["pk_name"]))
    return pk, dynamodb._extract_key_val(item.get(record["sk_name"])) if record["sk_name"] else NO_SORT_KEY
