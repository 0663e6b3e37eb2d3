"""Judging a run in parts, however it is divided, gives the findings of one judge."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kit import integrity
from kit.errors import EvidenceMissing
from kit.integrity import Axis, Part, check_part, check_run, divide_by_client, divide_by_market, merge_parts
from kit.integrity.findings.partial import AXES, axis_of
from kit.model import Finding
from tests.histories import execution, planted
from tests.histories.run_folder import write

SEEDS = st.integers(0, 10_000)
# Into how many parts, and a seed that says which market and client belongs to which.
DIVISIONS = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10_000))
QUICK = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
Division = tuple[int, int, int]


def judged_in_parts(run_dir: Path, work_dir: Path, division: Division) -> list[Finding]:
    """Divide, judge every part alone, pass each result on as JSON, and merge."""
    markets, clients, seed = division

    def assign(count: int) -> Any:
        return lambda name: (seed + sum(map(ord, name)) * (seed % 97 + 1)) % count

    by_market = divide_by_market(run_dir, work_dir / "market", markets, assign(markets))
    by_client = divide_by_client(run_dir, work_dir / "client", clients, assign(clients))
    parts = [check_part(run_dir, Axis.RUN)]
    parts += [check_part(path, Axis.MARKET, number=i, count=markets) for i, path in enumerate(by_market)]
    parts += [check_part(path, Axis.CLIENT, number=i, count=clients) for i, path in enumerate(by_client)]
    return merge_parts([Part.from_plain(json.loads(json.dumps(part.to_plain()))) for part in parts])


def told(finding: Finding) -> tuple[Any, ...]:
    """All of a finding but the example: of several violations the parts may show another one."""
    return (
        finding.name,
        finding.status,
        finding.measured,
        finding.limit,
        finding.unit,
        finding.detail.partition(": ")[0],
    )


def differences(tables: Any, division: Division) -> list[tuple[Any, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = write(tables, Path(folder) / "run")
        whole, merged = check_run(run_dir), judged_in_parts(run_dir, Path(folder), division)
    return [(told(one), told(other)) for one, other in zip(whole, merged, strict=True) if told(one) != told(other)]


@settings(QUICK, max_examples=3)
@given(SEEDS, DIVISIONS, st.booleans())
def test_any_division_of_any_run_gives_the_findings_of_one_judge(seed: int, division: Division, doubled: bool):
    tables = execution.play(execution.random_steps(seed, 250), without_idempotency=doubled)
    assert differences(tables, division) == []


@settings(QUICK, max_examples=4)
@given(SEEDS, st.sampled_from(planted.PLANTS), DIVISIONS)
def test_any_division_of_a_run_with_an_anomaly_gives_the_findings_of_one_judge(seed, planting, division):
    tables: Any = execution.play(execution.random_steps(seed, 400))
    try:
        planting[0](tables)
    except IndexError:
        assume(False)  # this history has no row to plant the anomaly in
    assert differences(tables, division) == []


@pytest.mark.slow
@pytest.mark.parametrize("plant", [plant for plant, _ in planted.PLANTS], ids=lambda plant: plant.__name__)
def test_every_planted_anomaly_is_found_alike_in_parts(plant: Any, tables: Any):
    plant(tables)
    assert differences(tables, (3, 4, 5)) == []


def test_every_axis_names_checks_that_exist_and_the_whole_run_keeps_the_rest():
    names = {check.name for check in integrity.CHECKS}
    assert set(AXES) <= names
    assert {check.name for check in integrity.CHECKS if axis_of(check) is Axis.RUN} == names - set(AXES)


def test_an_order_that_two_markets_show_keeps_them_in_one_part(tables: Any, tmp_path: Path):
    """The violation can only be seen with both."""
    events = tables["events"]
    first, second = (
        events.index[(events["market"] == market) & (events["type"] == "accepted")][0] for market in ("ACME", "BOLT")
    )
    events.loc[second, "order_id"] = events.loc[first, "order_id"]
    run_dir = write(tables, tmp_path / "run")
    numbers = {"ACME": 0, "BOLT": 1}
    folders = divide_by_market(run_dir, tmp_path / "parts", 2, lambda market: numbers.get(market, 1))
    parts = [check_part(folder, Axis.MARKET, number=i, count=2) for i, folder in enumerate(folders)]
    (found,) = [one for part in parts for one in part.findings if one.name == "one-event-per-order" and one.violations]
    assert found.violations == 1


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        (0, "parts of the run by run: none judged, expected each of 1 once"),
        (1, "parts of the run by market: 1 of 2 judged, expected each of 2 once"),
        (3, "parts of the run by client: none judged, expected each of 1 once"),
    ],
)
def test_a_part_that_is_missing_is_no_pass(tables: Any, tmp_path: Path, left_out: int, message: str):
    run_dir = write(tables, tmp_path / "run")
    parts = [check_part(run_dir, Axis.RUN)]
    parts += [Part(axis=Axis.MARKET, number=number, count=2, findings=()) for number in range(2)]
    parts += [Part(axis=Axis.CLIENT, findings=())]
    del parts[left_out]
    with pytest.raises(EvidenceMissing, match=message):
        merge_parts(parts)


def test_a_part_without_the_result_of_a_check_makes_it_invalid(tables: Any, tmp_path: Path):
    run_dir = write(tables, tmp_path / "run")
    parts = [check_part(run_dir, Axis.RUN), Part(axis=Axis.MARKET, findings=()), Part(axis=Axis.CLIENT, findings=())]
    found = {one.name: one for one in merge_parts(parts)}
    assert found["no-double-fill"].detail == "1 of 1 parts of the run have no result of it"
    assert found["requests-counted"].status == "pass"


def test_results_of_another_form_are_refused():
    with pytest.raises(EvidenceMissing, match="partial findings have another form"):
        Part.from_plain({"axis": "market", "findings": [{"nam": 1}]})
