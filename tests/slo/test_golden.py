"""The golden profile: finds what got slower, without false alarms for equal builds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from kit.errors import EvidenceMissing, UsageError
from kit.model import Status
from kit.slo.golden import GOLDEN_RUNS_MIN, Golden, PhaseSample, RunSample, compare
from kit.slo.histogram import ACCURACY, Histogram

LOAD = {"scenario": "az-loss", "rate_per_s": 48}
MACHINE = {"cpus": 2, "model": "x"}
REQUESTS = 400


def run_of(dice: np.random.Generator, *, factor: float = 1.0, error_rate: float = 0.01, name: str = "r") -> RunSample:
    """A run whose requests share its weather: its own level varies by 10 % from run to run."""
    level = 20 * factor * np.exp(dice.normal(0, 0.1))
    latencies = level * np.exp(dice.normal(0, 0.5, REQUESTS))
    sample = PhaseSample(
        latency=Histogram.of(latencies.tolist()), attempts=REQUESTS, errors=int(dice.binomial(REQUESTS, error_rate))
    )
    return RunSample(run_id=name, load=LOAD, machine=MACHINE, phases={"before": sample})


def golden_of(dice: np.random.Generator) -> Golden:
    return Golden(runs=tuple(run_of(dice, name=f"g{number}") for number in range(GOLDEN_RUNS_MIN)))


def failed(found: list) -> list[str]:
    return [finding.name for finding in found if finding.status is Status.FAIL]


def test_equal_builds_are_not_called_slower():
    """At most 5 % by the rule; the ratio's floor makes it rarer still."""
    dice = np.random.default_rng(1)
    alarms = sum(bool(failed(compare(golden_of(dice), [run_of(dice) for _ in range(3)]))) for _ in range(100))
    assert alarms <= 4


def test_a_build_that_is_half_as_slow_again_is_found():
    dice = np.random.default_rng(2)
    found = [compare(golden_of(dice), [run_of(dice, factor=1.5) for _ in range(3)]) for _ in range(50)]
    assert sum(bool(failed(one)) for one in found) >= 48
    slow = next(finding for finding in found[0] if finding.name == "golden-latency-ms-p95")
    assert slow.detail.startswith("it got slower: ") and "95 % interval" in slow.detail


def with_reads(run: RunSample, dice: np.random.Generator, *, factor: float = 1.0, count: int = 40) -> RunSample:
    times = 5 * factor * np.exp(dice.normal(0, 0.3, count))
    before = replace(run.phases["before"], operations={"get_order": Histogram.of(times.tolist())})
    return RunSample.from_plain(replace(run, phases={"before": before}).to_plain())


def test_slower_reads_are_found_although_orders_are_as_fast_as_before():
    dice = np.random.default_rng(7)
    golden = Golden(runs=tuple(with_reads(run, dice) for run in golden_of(dice).runs))
    slower = [with_reads(run_of(dice), dice, factor=2.0) for _ in range(3)]
    assert failed(compare(golden, slower)) == ["golden-get-order-ms-p50", "golden-get-order-ms-p95"]
    equal = [with_reads(run_of(dice), dice) for _ in range(3)]
    assert failed(compare(golden, equal)) == []


def test_an_operation_with_few_requests_in_any_run_is_not_compared():
    dice = np.random.default_rng(8)
    golden = Golden(runs=tuple(with_reads(run, dice) for run in golden_of(dice).runs))
    few = with_reads(run_of(dice), dice, factor=9.0, count=5)
    names = {finding.name for finding in compare(golden, [few, few, few])}
    assert not any("get-order" in name for name in names)
    assert {finding.name for finding in compare(golden, [run_of(dice)])} == names


def test_a_certain_but_small_difference_is_no_regression():
    dice = np.random.default_rng(3)
    steady = replace(run_of(dice), run_id="same")
    golden = Golden(runs=(steady,) * GOLDEN_RUNS_MIN)
    slower = replace(steady, phases={"before": scaled(steady.phases["before"], 1.15)})
    assert failed(compare(golden, [slower] * 3)) == []


def scaled(sample: PhaseSample, factor: float) -> PhaseSample:
    steps = round(np.log(factor) / np.log((1 + ACCURACY) / (1 - ACCURACY)))
    return replace(sample, latency=Histogram({bucket + steps: n for bucket, n in sample.latency.counts.items()}))


def test_one_candidate_can_only_warn():
    dice = np.random.default_rng(4)
    found = compare(golden_of(dice), [run_of(dice, factor=4)])
    assert failed(found) == []
    assert any(finding.detail.startswith("warning, it may have got slower") for finding in found)


def test_more_errors_are_found():
    dice = np.random.default_rng(5)
    assert "golden-error-rate" in failed(compare(golden_of(dice), [run_of(dice, error_rate=0.08) for _ in range(3)]))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("load", {**LOAD, "rate_per_s": 50}, "load rate_per_s=50, not 48"),
        ("machine", {**MACHINE, "cpus": 64}, "machine cpus=64, not 2"),
        ("machine", {"cpus": 2}, "machine model=None, not 'x'"),
    ],
)
def test_another_load_or_machine_is_refused(field, value, words):
    dice = np.random.default_rng(6)
    other = replace(run_of(dice), **{field: value})
    with pytest.raises(UsageError, match=words):
        compare(golden_of(dice), [other])


def test_a_profile_of_too_few_runs_is_refused():
    dice = np.random.default_rng(7)
    with pytest.raises(UsageError, match="needs 8 runs, 7 were given"):
        Golden(runs=tuple(run_of(dice) for _ in range(7)))


def test_a_phase_without_requests_is_invalid():
    dice = np.random.default_rng(8)
    hollow = replace(run_of(dice, name="hollow"), phases={})
    (found,) = compare(golden_of(dice), [hollow] * 3)
    assert found.status is Status.INVALID
    assert found.detail == "run hollow has 0 requests < 100"


def test_a_profile_is_read_back_as_it_was_written():
    golden = golden_of(np.random.default_rng(9))
    assert Golden.from_plain(json.loads(json.dumps(golden.to_plain()))) == golden


@pytest.mark.parametrize("broken", [{}, {"schema": "gameday.golden/2"}, {"schema": "gameday.golden/1", "runs": [{}]}])
def test_a_broken_profile_is_no_evidence(broken):
    with pytest.raises(EvidenceMissing):
        Golden.from_plain(broken)


def test_a_histogram_has_the_percentiles_of_its_values():
    values = np.random.default_rng(10).lognormal(3, 1, 2_000)
    histogram = Histogram.of(values.tolist())
    for share in (50, 95, 99):
        exact = float(np.percentile(values, share, method="inverted_cdf"))
        assert histogram.percentile(share) == pytest.approx(exact, rel=ACCURACY)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_latency_is_refused(value):
    with pytest.raises(ValueError, match="is not a finite number"):
        Histogram.of([value])
