"""Replicate the writes of global tables to other Regions after a lag; the last writer wins.

MiniStack applies a write to every replica at once; `send` replaces its `_replicate_write`.
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

# AWS documents "usually within a second".
LAG_S = (0.3, 0.9)
# Writes applied before other tasks of the event loop run; a resumed table may have thousands waiting.
DELIVERED_AT_ONCE_MAX = 200
# With more pending writes than this, only the latest write of each item is kept.
WAITING_MAX = 10_000
# With more timestamps of last writes than this, those that no pending write can be older than are dropped.
STAMPS_MAX = 50_000

# A global table: account and name. A replica: account, Region and name.
Group = tuple[str, str]
Replica = tuple[str, str, str]
# The time and the Region of a write, by which writes are ordered.
Stamp = tuple[float, str]
Latency = Callable[[str, str, str, str, float], None]


class NotReplicated(UsageError):
    """The table is not a replica of a global table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One pending write; without an item it is a delete."""

    key: tuple[Any, Any]
    item: dict[str, Any] | None
    stamp: Stamp
    due_s: float


@dataclass(slots=True)
class ReplicaLink:
    """The pending writes from one Region's replica to another's."""

    group: Group
    source: str
    target: str
    waiting: deque[Write] = field(default_factory=deque)
    timer: asyncio.TimerHandle | None = None
    # The length at which the queue is compacted; doubled when compaction does not shorten it.
    compact_at: int = WAITING_MAX


class Replication:
    """The links of all global tables. Used on one event loop only."""

    def __init__(self, seed: int, latency: Latency) -> None:
        self._random = random.Random(f"replication-{seed}")
        self._latency = latency
        self._links: dict[tuple[Group, str, str], ReplicaLink] = {}
        self._stamps: dict[tuple[Replica, Any, Any], Stamp] = {}
        self._pauses: dict[Replica, set[str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Use the running event loop."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Drop all pending writes."""
        for link in self._links.values():
            if link.timer is not None:
                link.timer.cancel()
        self._links.clear()

    def pause(self, table_arn: str, owner: str) -> None:
        """Hold all writes from and to this replica until every owner has resumed. Raises NotReplicated."""
        replica = _replica(table_arn)
        record = dynamodb._tables.get_scoped(*replica)
        if record is None or not dynamodb._replica_group(record):
            raise NotReplicated(f"table {table_arn} has no replica in another Region")
        self._pauses.setdefault(replica, set()).add(owner)

    def resume(self, table_arn: str, owner: str) -> None:
        """End an owner's pause, and let the replica catch up after the last one. Safe to repeat."""
        replica = _replica(table_arn)
        owners = self._pauses.get(replica, set())
        owners.discard(owner)
        if owners:
            return
        self._pauses.pop(replica, None)
        for link in self._links.values():
            self._schedule(link)

    def send(self, record: dict[str, Any], _event: str, old: Any, new: Any) -> None:
        """Queue a write that was applied in the caller's Region for the other Regions."""
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
                self._enqueue(link, key, item, stamp)

    def forget(self, name: str, region: str) -> None:
        """Drop the pending writes of a replica that was created, which has all items, or deleted."""
        group = (get_account_id(), name)
        for link in self._links.values():
            if link.group == group and region in (link.source, link.target):
                link.waiting.clear()
        gone = (group[0], region, name)
        self._stamps = {known: stamp for known, stamp in self._stamps.items() if known[0] != gone}

    def _link(self, group: Group, source: str, target: str) -> ReplicaLink:
        found = self._links.get((group, source, target))
        if found is None:
            found = self._links[(group, source, target)] = ReplicaLink(group=group, source=source, target=target)
        return found

    def _enqueue(self, link: ReplicaLink, key: tuple[Any, Any], item: dict[str, Any] | None, stamp: Stamp) -> None:
        assert self._loop is not None
        due_s = self._loop.time() + self._random.uniform(*LAG_S)
        # Writes of a link keep their order.
        if link.waiting:
            due_s = max(due_s, link.waiting[-1].due_s)
        link.waiting.append(Write(key=key, item=item, stamp=stamp, due_s=due_s))
        if len(link.waiting) >= link.compact_at:
            latest = {write.key: write for write in link.waiting}
            link.waiting = deque(sorted(latest.values(), key=lambda write: write.due_s))
            link.compact_at = max(WAITING_MAX, 2 * len(link.waiting))
        self._schedule(link)

    def _is_paused(self, link: ReplicaLink) -> bool:
        account, name = link.group
        return any((account, region, name) in self._pauses for region in (link.source, link.target))

    def _schedule(self, link: ReplicaLink) -> None:
        if self._loop is None or link.timer is not None or not link.waiting or self._is_paused(link):
            return
        link.timer = self._loop.call_at(link.waiting[0].due_s, self._deliver, link)

    def _deliver(self, link: ReplicaLink) -> None:
        link.timer = None
        if self._loop is None or self._is_paused(link):
            return
        # The loop's timers have a resolution of a millisecond and may fire one too early.
        now_s = self._loop.time() + 0.001
        try:
            with request_scope(link.group[0], link.target):
                for _ in range(DELIVERED_AT_ONCE_MAX):
                    if not link.waiting or link.waiting[0].due_s > now_s:
                        break
                    self._apply(link, link.waiting.popleft())
        finally:
            # A write that cannot be applied must not block those after it.
            self._schedule(link)

    def _apply(self, link: ReplicaLink, write: Write) -> None:
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
        """Drop the timestamps before the oldest pending write, and the older half of a full table in any case."""
        oldest = min((link.waiting[0].stamp[0] for link in self._links.values() if link.waiting), default=time.time())
        kept = {known: stamp for known, stamp in self._stamps.items() if stamp[0] >= oldest}
        self._stamps = dict(sorted(kept.items(), key=lambda each: each[1])[-STAMPS_MAX // 2 :])


def _replica(table_arn: str) -> Replica:
    spec = parse_arn(table_arn)
    return spec.account_id, spec.region, spec.resource.removeprefix("table/")


def _key(record: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[Any, Any]:
    pk = dynamodb._extract_key_val(item.get(record["pk_name"]))
    return pk, dynamodb._extract_key_val(item.get(record["sk_name"])) if record["sk_name"] else NO_SORT_KEY
