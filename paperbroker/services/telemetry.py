"""CloudWatch metrics of this task, aggregated in the process and published once every PERIOD_S.

Dimensions are {Env, Component, Az} and {Env, Component}. A zero count is published as zero, and every publish carries a
Heartbeat, so that a missing metric means that the task is gone and never that all is well.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from paperbroker.logs import Log

PERIOD_S = 5.0
VALUES_MAX = 150  # CloudWatch accepts no more distinct values in one datum.
HEARTBEAT = "Heartbeat"
METADATA_TIMEOUT_S = 1.0
METADATA_TRIES = 3
NO_ZONE = "none"


class Telemetry(Protocol):
    """The metrics interface of the services."""

    def count(self, name: str, n: int) -> None: ...

    def observe(self, name: str, value: float) -> None: ...


class Silent:
    """Discards all metrics; for tests and tools."""

    def count(self, name: str, n: int) -> None:
        """Not counted."""

    def observe(self, name: str, value: float) -> None:
        """Not observed."""


class Metrics:
    """Aggregate counts and values (thread-safe) and publish them from a background thread."""

    def __init__(
        self, cloudwatch: Any, *, namespace: str, env: str, component: str, zone: str, log: Log, counts: Sequence[str]
    ) -> None:
        self._cloudwatch = cloudwatch
        self._namespace = namespace
        by_component = [{"Name": "Env", "Value": env}, {"Name": "Component", "Value": component}]
        self._dimensions = [by_component, [*by_component, {"Name": "Az", "Value": zone}]]
        self._log = log
        self._lock = threading.Lock()
        self._always = tuple(counts)
        self._gauges: dict[str, Callable[[], float]] = {HEARTBEAT: lambda: 1.0}
        self._counts: Counter[str] = Counter(dict.fromkeys(counts, 0))
        self._values: dict[str, Counter[float]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def count(self, name: str, n: int) -> None:
        with self._lock:
            self._counts[name] += n

    def observe(self, name: str, value: float) -> None:
        with self._lock:
            self._values.setdefault(name, Counter())[_bucket(value)] += 1

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Add a gauge that every publish reads. Call it before `start`."""
        self._gauges[name] = read

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Publish the remaining data and stop."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        due_s = time.monotonic() + PERIOD_S
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + PERIOD_S, time.monotonic())  # A publish that hangs must not lengthen the period.
            self._publish()
        self._publish()

    def _publish(self) -> None:
        data = self._drain()
        try:
            self._cloudwatch.put_metric_data(Namespace=self._namespace, MetricData=data)
        except (BotoCoreError, ClientError) as exc:
            # Late data would distort the period in which they arrive. They are dropped, and the gap is visible.
            self._log.warning("telemetry.dropped", data=len(data), error=type(exc).__name__)

    def _drain(self) -> list[dict[str, Any]]:
        with self._lock:
            counts, values = self._counts, self._values
            self._counts, self._values = Counter(dict.fromkeys(self._always, 0)), {}
        common = {"Timestamp": datetime.now(UTC), "StorageResolution": 1}
        plain = [*counts.items(), *((name, read()) for name, read in self._gauges.items())]
        data = [{"MetricName": n, "Value": float(c), "Unit": "Count", **common} for n, c in plain]
        for name, seen in values.items():
            pairs = sorted(seen.items())
            for start in range(0, len(pairs), VALUES_MAX):
                part = pairs[start : start + VALUES_MAX]
                data.append(
                    {
                        "MetricName": name,
                        "Values": [value for value, _ in part],
                        "Counts": [float(n) for _, n in part],
                        "Unit": "Milliseconds",
                        **common,
                    }
                )
        return [{**datum, "Dimensions": dimensions} for datum in data for dimensions in self._dimensions]


def _bucket(value: float) -> float:
    """Round to tenths below 20 ms, then to whole ms, then to three digits, to keep the distinct values few."""
    if value < 20:
        return round(max(0.0, value), 1)
    step = 10 ** max(0, len(str(int(value))) - 3)
    return float(round(value / step) * step)


def availability_zone(metadata_uri: str, log: Log) -> str:
    """Return the task's Availability Zone from the ECS metadata endpoint; NO_ZONE if it tells none in METADATA_TRIES.

    It is asked once in a task's life: a task that got no answer would publish without a zone until it ends.
    """
    if not metadata_uri:
        return NO_ZONE
    for left in reversed(range(METADATA_TRIES)):
        try:
            with urllib.request.urlopen(f"{metadata_uri}/task", timeout=METADATA_TIMEOUT_S) as answer:
                if zone := json.load(answer).get("AvailabilityZone"):
                    return str(zone)
                error = "the answer has no AvailabilityZone"
        except (OSError, ValueError) as exc:
            error = str(exc)
        log.warning("telemetry.no_zone", error=error, tries_left=left)
    return NO_ZONE
