"""What a task says of itself: metrics as CloudWatch takes them, logs as lines of JSON."""

from __future__ import annotations

import io
import json
import logging
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
from tests.paperbroker.random_commands import PROPERTY


class Taken:
    """CloudWatch's end of the wire."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.down = False

    def put_metric_data(self, **request: Any) -> None:
        if self.down:
            raise EndpointConnectionError(endpoint_url="http://nowhere")
        self.calls.append(request)


def metrics(taken: Taken) -> Metrics:
    return Metrics(
        taken,
        namespace="PaperBroker",
        env="e",
        component="api",
        zone="z-a",
        log=Log(logging.getLogger("test")),
        counts=("Requests", "Http5xx"),
    )


def test_counts_are_published_even_when_zero_in_both_sets_of_dimensions():
    """Silence must mean that the task is gone."""
    taken = Taken()
    m = metrics(taken)
    m.count("Requests", 3)
    m.start()
    m.stop(5)
    (call,) = taken.calls
    said = {(d["MetricName"], len(d["Dimensions"]), d["Value"]) for d in call["MetricData"]}
    counts = {("Requests", 3.0), ("Http5xx", 0.0), ("Heartbeat", 1.0)}
    assert said == {(name, dimensions, value) for name, value in counts for dimensions in (2, 3)}
    assert all(datum["StorageResolution"] == 1 for datum in call["MetricData"])


@PROPERTY
@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=400))
def test_values_survive_aggregation_closely(values: list[float]):
    """Nothing is lost, no datum holds more values than CloudWatch takes, and each value is nearly what it was."""
    m = metrics(Taken())
    for value in values:
        m.observe("LatencyMs", value)
    data = [d for d in m._drain() if d["MetricName"] == "LatencyMs" and len(d["Dimensions"]) == 2]
    assert max(len(d["Values"]) for d in data) <= VALUES_MAX
    kept = sorted(v for d in data for v, n in zip(d["Values"], d["Counts"], strict=True) for _ in range(int(n)))
    assert len(kept) == len(values)
    assert all(abs(a - b) <= max(0.051, b * 0.026) for a, b in zip(kept, sorted(values), strict=True))


def test_unreachable_cloudwatch_is_survived(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.01)
    taken = Taken()
    taken.down = True
    m = metrics(taken)
    m.start()
    m.stop(5)
    assert taken.calls == []


def test_lines_are_json_with_event_fields_and_run(monkeypatch: pytest.MonkeyPatch):
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
def test_wrong_environment_names_the_variable(wrong: dict[str, str], named: str):
    tables = {f"PB_{t}_TABLE": t for t in ("ORDERS", "OUTBOX", "LEDGER", "MARKETS", "POSITIONS", "APPLIED")}
    good = {"AWS_REGION": "us-east-1", "PB_MARKETS": "ACME,BOLT", "PB_QUEUE_URL": "q", **tables}
    assert from_environment(good).markets == ("ACME", "BOLT")
    with pytest.raises(SettingsError, match=named):
        from_environment(good | wrong)
