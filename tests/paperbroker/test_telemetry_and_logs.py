"""Metrics as CloudWatch accepts them, logs as lines of JSON, and settings from the environment."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from paperbroker import logs
from paperbroker.errors import SettingsError
from paperbroker.logs import Log
from paperbroker.services import telemetry
from paperbroker.services.telemetry import VALUES_MAX, Metrics
from paperbroker.settings import from_environment
from tests.paperbroker.paperbroker_rig import environment
from tests.paperbroker.random_commands import PROPERTY


class CloudWatch:
    """Records requests; unreachable while `down`."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.down = False

    def put_metric_data(self, **request: Any) -> None:
        if self.down:
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        self.calls.append(request)


def metrics(cloudwatch: CloudWatch) -> Metrics:
    return Metrics(
        cloudwatch,
        namespace="PaperBroker",
        env="e",
        component="api",
        zone="z-a",
        log=Log(logging.getLogger("test")),
        counts=("Requests", "Http5xx"),
    )


def test_counts_are_published_in_both_sets_of_dimensions_even_when_zero():
    """A missing metric must mean that the task is gone."""
    cloudwatch = CloudWatch()
    m = metrics(cloudwatch)
    m.count("Requests", 3)
    m.start()
    m.stop(5)
    (call,) = cloudwatch.calls
    published = {(d["MetricName"], len(d["Dimensions"]), d["Value"]) for d in call["MetricData"]}
    counts = {("Requests", 3.0), ("Http5xx", 0.0), ("Heartbeat", 1.0)}
    assert published == {(name, dimensions, value) for name, value in counts for dimensions in (2, 3)}
    assert all(datum["StorageResolution"] == 1 for datum in call["MetricData"])


@PROPERTY
@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=400))
def test_aggregation_keeps_every_value_within_its_rounding(values: list[float]):
    """No value is lost, and no datum holds more distinct values than CloudWatch accepts."""
    m = metrics(CloudWatch())
    for value in values:
        m.observe("LatencyMs", value)
    data = [d for d in m._drain() if d["MetricName"] == "LatencyMs" and len(d["Dimensions"]) == 2]
    assert max(len(d["Values"]) for d in data) <= VALUES_MAX
    found = sorted(v for d in data for v, n in zip(d["Values"], d["Counts"], strict=True) for _ in range(int(n)))
    assert len(found) == len(values)
    assert all(abs(a - b) <= max(0.051, b * 0.026) for a, b in zip(found, sorted(values), strict=True))


def test_metrics_stop_normally_when_cloudwatch_is_unreachable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.01)
    cloudwatch = CloudWatch()
    cloudwatch.down = True
    m = metrics(cloudwatch)
    m.start()
    m.stop(5)
    assert cloudwatch.calls == []


def test_log_lines_are_json_with_event_fields_and_run_id(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log = logs.configure("INFO", run_id="r1", component="api")
        log.info("order.accepted", trace_id="t1")
        log.debug("too.quiet")
        logging.getLogger("somebody").warning("careful")
    finally:
        root.handlers[:], root.level = before
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["run_id"], first["trace_id"], first["level"]) == (
        "order.accepted",
        "r1",
        "t1",
        "INFO",
    )
    assert (second["event"], second["run_id"], second["logger"]) == ("careful", "r1", "somebody")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"PB_MARKETS": ""}, "PB_MARKETS"), ({"PORT": "http"}, "PORT"), ({"PB_QUEUE_URL": ""}, "PB_QUEUE_URL")],
)
def test_error_of_an_invalid_environment_names_the_variable(wrong: dict[str, str], named: str):
    assert from_environment(environment()).markets == ("ACME", "BOLT")
    with pytest.raises(SettingsError, match=named):
        from_environment(environment(**wrong))


@pytest.mark.parametrize(
    "use",
    [lambda m: m.count("Requests", 1), lambda m: m.observe("LatencyMs", 1.0), lambda m: m._drain()],
    ids=["count", "observe", "publish"],
)
def test_metrics_are_changed_under_their_lock(use: Callable[[Metrics], object]):
    """Many threads count while one publishes; without the lock, counts get lost."""
    m, done = metrics(CloudWatch()), threading.Event()
    thread = threading.Thread(target=lambda: (use(m), done.set()))
    with m._lock:
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(5)
    thread.join()
