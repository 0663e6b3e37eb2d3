"""The assertion function holds metrics against limits and scans the ledger; without data nothing passes."""

from __future__ import annotations

import ast
import io
import json
import math
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
from botocore.stub import ANY, Stubber

from kit import scenarios
from kit.model import Deployment
from kit.pipeline.assertion import handler, metric_limits
from kit.pipeline.assertion.ledger_scan import Event
from kit.pipeline.assertion.ledger_window import NS_PER_S
from kit.pipeline.assertion_input import PHASES, assertion_input, limits
from kit.pipeline.function_package import BYTES_MAX, ROOT, package, sources
from tests.pipeline.ledger_tables import item

NOW_S = 1_700_000_000.0
WINDOW = {"start": NOW_S - 20, "end": NOW_S}
STACK = Deployment(
    stack_name="s",
    run_id="r",
    api_url="http://x",
    outputs={"MetricsEnv": "gameday-r", "LedgerTable": "Ledger", "Markets": "ACME"},
)
POINTS = [NOW_S - 20, NOW_S - 15, NOW_S - 10, NOW_S - 5]
GOOD: dict[str, list[float]] = {
    "latency_ms_p95": [20.0, 20.0, 900.0, 20.0],
    "latency_ms_p99": [30.0] * 4,
    "requests": [100.0, 300.0, 300.0, 300.0],
    "error_rate": [0.03, 0.0, 0.0, 0.0],
    "matches_per_s": [40.0] * 4,
}
LEDGER = (
    Event("ACME", 1, "accepted", "e1", "m", "c1", "k1", 5),
    Event("ACME", 2, "accepted", "e2", "t", "c2", "k2", 5),
    Event("ACME", 3, "fill", "e2", qty=5, taker_order_id="t", maker_order_id="m"),
)
DOUBLED = (*LEDGER, Event("ACME", 4, "fill", "e9", qty=5, taker_order_id="t", maker_order_id="m"))


def asked(**changes: Any) -> dict[str, Any]:
    made = assertion_input(scenarios.get("az-loss"), STACK, assertion="steady-state", rate_per_s=48, run_s=100)
    return {**made, "window": WINDOW, **changes}


def client(name: str) -> Any:
    return boto3.client(name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def judge(
    event: dict[str, Any], series: dict[str, list[float]] | None = None, ledger: tuple[Event, ...] = LEDGER
) -> dict[str, Any]:
    """Run the function on these series and this ledger."""
    cloudwatch, dynamodb = client("cloudwatch"), client("dynamodb")
    results = [
        {"Id": name, "Timestamps": [datetime.fromtimestamp(at, UTC) for at in POINTS[: len(values)]], "Values": values}
        for name, values in (GOOD | (series or {})).items()
    ]
    with Stubber(cloudwatch) as metrics, Stubber(dynamodb) as table:
        expected = {
            "MetricDataQueries": metric_limits.queries("gameday-r"),
            "StartTime": datetime.fromtimestamp(math.ceil(event["window"]["start"] / 5) * 5, UTC),
            "EndTime": datetime.fromtimestamp(NOW_S, UTC),
            "ScanBy": "TimestampAscending",
        }
        # Two pages, as CloudWatch may send them.
        metrics.add_response("get_metric_data", {"MetricDataResults": results[:2], "NextToken": "n"}, expected)
        metrics.add_response("get_metric_data", {"MetricDataResults": results[2:]}, {**expected, "NextToken": "n"})
        rows = [item(one, int((NOW_S - 60) * NS_PER_S)) for one in reversed(ledger)]
        table.add_response(
            "query",
            {"Items": rows},
            {
                "TableName": "Ledger", "ConsistentRead": True, "ScanIndexForward": False, "Limit": 250,
                "KeyConditionExpression": "#market = :market", "ProjectionExpression": ANY,
                "ExpressionAttributeNames": ANY, "ExpressionAttributeValues": {":market": {"S": "ACME"}},
            },
        )  # fmt: skip
        return handler.judge(event, handler.Aws(cloudwatch=cloudwatch, dynamodb=dynamodb, now=lambda: NOW_S))


def test_a_steady_exchange_passes_with_its_measurements():
    """The percentile of the window is the median of its periods; a rate is that of all its requests."""
    found = judge(asked())
    assert found["pass"] is True and found["details"]["reasons"] == []
    metrics = {one["name"]: one for one in found["details"]["metrics"]}
    assert (metrics["latency_ms_p95"]["measured"], metrics["latency_ms_p95"]["limit"]) == (20.0, 250)
    assert metrics["error_rate"]["measured"] == pytest.approx(0.003)
    assert metrics["matches_per_s"]["limit"] == pytest.approx(4.8)
    assert metrics["latency_ms_p99"]["detail"] == "latency_ms_p99 30 ms, without a limit"
    assert [one["status"] for one in found["details"]["ledger"]["rules"]] == ["pass"] * 5
    assert found["details"]["ledger"]["events"] == 3
    json.dumps(found)


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ({"latency_ms_p95": [20.0, 900.0, 900.0, 900.0]}, "latency_ms_p95 900 ms > 250"),
        ({"error_rate": [0.0, 0.05, 0.05, 0.0]}, "error_rate 0.03 share > 0.01"),
        ({"matches_per_s": [0.0, 0.0, 0.0, 9.0]}, "matches_per_s 2.25 matches/s < 4.8"),
        ({"latency_ms_p95": []}, "latency_ms_p95: no data, 0 of 4 periods of 5 s have a value"),
        ({"latency_ms_p99": [1.0]}, "latency_ms_p99: no data, 1 of 4 periods"),
        ({"error_rate": [0.0]}, "error_rate: no data, 1 of 4 periods"),
        ({"matches_per_s": []}, "matches_per_s: no data"),
        ({"requests": [0.0] * 4}, "error_rate 1 share > 0.01"),
    ],
)
def test_a_metric_beyond_its_limit_or_without_data_does_not_pass(series: dict[str, list[float]], reason: str):
    found = judge(asked(), series)
    assert found["pass"] is False
    assert [one for one in found["details"]["reasons"] if one.startswith(reason)]


def test_a_window_that_is_too_short_has_no_data():
    found = judge(asked(window={"start": NOW_S - 9, "end": NOW_S}))
    assert found["pass"] is False
    assert "the window of 9 s has 1 periods of 5 s, at least 2 needed" in found["details"]["reasons"][0]


def test_a_doubled_fill_does_not_pass_and_is_told():
    found = judge(asked(), ledger=DOUBLED)
    assert found["pass"] is False
    assert found["details"]["reasons"] == [
        "no-double-fill: 2 of 2 orders were filled twice: key k2 of client c2 ordered 5 lots and got 10",
    ]
    rules = {one["name"]: one for one in found["details"]["ledger"]["rules"]}
    assert rules["no-double-fill"]["violations"] == 2


def test_an_empty_ledger_does_not_pass():
    found = judge(asked(), ledger=())
    assert found["pass"] is False
    assert len(found["details"]["reasons"]) == 5


def test_a_ledger_that_was_not_read_back_far_enough_does_not_pass():
    clock = iter([0.0, 0.0, 11.0])
    dynamodb = client("dynamodb")
    rows = [item(one, int((NOW_S - 60) * NS_PER_S)) for one in reversed(LEDGER)]
    more = {"LastEvaluatedKey": {"market": {"S": "ACME"}, "seq": {"N": "1"}}}
    with Stubber(dynamodb) as table:
        table.add_response("query", {"Items": rows, **more})
        aws = handler.Aws(cloudwatch=None, dynamodb=dynamodb, now=lambda: NOW_S, monotonic=lambda: next(clock))
        scanned = handler._scanned(handler._checked(asked()), aws)
    assert scanned["reasons"] == ["ledger of ACME was not read back to its window's start: the time was over"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": None}, "window=None must be an object"),
        ({"window": {"start": "now", "end": 1}}, "start='now' must be a number"),
        ({"window": {"start": True, "end": 1}}, "start=True must be a number"),
        ({"limits": {"p95": 1}}, "limits has 'p95'; known: latency_ms_p95"),
        ({"limits": {"error_rate": float("nan")}}, "error_rate=nan must be a number"),
        ({"env": ""}, "env='' must be text"),
        ({"ledger": {"table": "t", "markets": [], "minutes": 1}}, r"ledger.markets=\[\] must be a list"),
        ({"ledger": {"table": "t", "markets": ["A"], "minutes": 61}}, "ledger.minutes=61.0 must be above 0"),
    ],
)
def test_input_that_is_not_of_this_function_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(handler.BadInput, match=message):
        handler._checked(asked(**changes))


@pytest.mark.parametrize("name", scenarios.names())
@pytest.mark.parametrize("assertion", PHASES)
def test_the_limits_of_every_scenario_are_those_of_its_objectives(name: str, assertion: str):
    scenario = scenarios.get(name)
    found = limits(scenario, assertion=assertion, rate_per_s=scenario.rate_per_s)
    assert found["latency_ms_p95"] == scenario.limit("latency_ms_p95", PHASES[assertion])
    assert found["error_rate"] == scenario.limit("error_rate", PHASES[assertion])
    assert handler._checked(asked(limits=found))["limits"] == found


def imported(source: str) -> set[str]:
    """The modules that a source imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "kit"}
    return names - {"kit"}


def test_the_function_imports_the_standard_library_boto3_and_its_own_modules():
    packed = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources()}
    packed |= {name.removesuffix(".__init__") for name in packed}
    for path in sources():
        for name in imported(path.read_text()):
            known = name.partition(".")[0] in {*sys.stdlib_module_names, "boto3", "botocore"}
            assert known or name in packed, f"{path} imports {name}"


def test_the_package_is_small_reproducible_and_runs_where_there_is_only_boto3(tmp_path: Path):
    made = package()
    assert made == package()
    assert len(made) < BYTES_MAX / 20
    zipfile.ZipFile(io.BytesIO(made)).extractall(tmp_path)
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    site = Path(botocore.__file__).parents[1]
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py"):
        (libraries / name).symlink_to(site / name)
    program = "from kit.pipeline.assertion import handler; print(handler.handle.__name__)"
    argv = [sys.executable, "-S", "-c", program]
    environment = {"PYTHONPATH": f"{tmp_path}:{libraries}"}
    ended = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout.strip(), ended.stderr) == ("handle", "")
