"""The noise rule: which failures CPU contention may explain, and which it never does."""

from __future__ import annotations

import pandas as pd
import pytest

from kit.collect.observations import MachineRecord
from kit.gameday.noise import apply_noise_rule, outside
from kit.model import CheckKind, Finding, Phase, Status
from kit.process.machine import MachineSample

PHASES = (
    Phase(name="before", start=100.0, end=120.0),
    Phase(name="during", start=120.0, end=140.0),
    Phase(name="recovery", start=140.0, end=155.0),
    Phase(name="after", start=155.0, end=180.0),
)


def judged(
    cores_left: float | None, *, kind: CheckKind = CheckKind.SLO, name: str = "latency-ms-p95", phase="during", **more
) -> Finding:
    failed = Finding(name=name, kind=kind, status=Status.FAIL, detail="too slow", phase=phase)
    (finding,) = apply_noise_rule([failed], PHASES, lambda start, end: cores_left, **more)
    return finding


def test_a_broken_objective_is_invalid_under_cpu_contention():
    finding = judged(0.5)
    assert finding.status is Status.INVALID
    assert finding.detail == "too slow; invalidated by CPU contention: other processes left the run 0.50 cores < 0.9"


@pytest.mark.parametrize("cores_left", [1.0, None], ids=["enough-cores", "nobody-measured"])
def test_without_cpu_contention_a_broken_objective_fails(cores_left):
    assert judged(cores_left).status is Status.FAIL


def test_counts_that_a_lost_publish_explains_are_invalid_under_contention():
    def statuses(cores_left: float, *names: str) -> list[Status]:
        found = [Finding(name=name, kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="") for name in names]
        return [one.status for one in apply_noise_rule(found, PHASES, lambda start, end: cores_left)]

    assert statuses(0.5, "requests-counted", "errors-counted") == [Status.INVALID, Status.INVALID]
    assert statuses(1.5, "requests-counted", "errors-counted") == [Status.FAIL, Status.FAIL]
    assert statuses(0.5, "latency-as-clients-saw") == [Status.INVALID]
    assert statuses(1.5, "latency-as-clients-saw") == [Status.FAIL]
    assert statuses(0.5, "errors-counted") == [Status.FAIL]  # the same call published all requests


@pytest.mark.parametrize(("missing", "status"), [(11, Status.INVALID), (12, Status.FAIL)])
def test_contention_explains_a_lost_publish_and_no_more(missing, status):
    short = Finding(name="fills-counted", kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="", measured=missing)
    (found,) = apply_noise_rule([short], PHASES, lambda start, end: 0.5, published={"fills-counted": 100.0})
    assert found.status is status


@pytest.mark.parametrize(("contended_s", "status"), [(1.9, Status.FAIL), (2.0, Status.INVALID)])
def test_a_pause_that_the_average_hides_explains_a_lost_publish(contended_s, status):
    def one(name: str, missing: float = 5) -> Status:
        short = Finding(name=name, kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="", measured=missing)
        totals = {"commands-counted": 100.0}
        enough = lambda start, end: 1.5  # noqa: E731
        (found,) = apply_noise_rule([short], PHASES, enough, published=totals, contended_s=contended_s)
        return found.status

    assert one("commands-counted") is status
    assert one("commands-counted", missing=50) is Status.FAIL
    assert one("latency-as-clients-saw") is Status.FAIL


@pytest.mark.parametrize(("wrong", "status"), [(12, Status.INVALID), (13, Status.FAIL)])
def test_contention_makes_no_latency_wrong_in_most_periods(wrong, status):
    name = "latency-as-clients-saw"
    short = Finding(name=name, kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="", measured=wrong)
    (found,) = apply_noise_rule([short], PHASES, lambda start, end: 0.4, published={name: 16.0})
    assert found.status is status


@pytest.mark.parametrize(("contended_s", "status"), [(9.9, Status.FAIL), (10.0, Status.INVALID)])
def test_only_long_contention_explains_that_a_subscriber_waited(contended_s, status):
    late = Finding(name="stream-on-time", kind=CheckKind.INTEGRITY, status=Status.FAIL, detail="", measured=3)
    (found,) = apply_noise_rule([late], PHASES, lambda start, end: 1.5, contended_s=contended_s)
    assert found.status is status


def test_errors_before_the_fault_are_invalid_under_contention_unless_they_are_denials():
    assert judged(0.5, kind=CheckKind.HYPOTHESIS, name="error-rate", phase="before").status is Status.INVALID
    assert judged(1.5, kind=CheckKind.HYPOTHESIS, name="error-rate", phase="before").status is Status.FAIL
    denied = {("error-rate", "before")}
    assert (
        judged(0.5, kind=CheckKind.HYPOTHESIS, name="error-rate", phase="before", denied=denied).status is Status.FAIL
    )


def test_integrity_fails_whatever_the_machine_did():
    assert judged(0.0, kind=CheckKind.INTEGRITY).status is Status.FAIL


def test_an_objective_that_counts_what_the_build_did_fails():
    assert judged(0.0, name="throttled-calls-per-attempt").status is Status.FAIL


@pytest.mark.parametrize(("phase", "status"), [("during", Status.FAIL), ("after", Status.INVALID)])
def test_an_objective_that_denials_alone_break_fails(phase, status):
    assert judged(0.0, phase=phase, denied={("latency-ms-p95", "during")}).status is status


def test_recovery_is_measured_until_the_end_of_the_load():
    asked = []
    failed = Finding(name="recovery-s", kind=CheckKind.SLO, status=Status.FAIL, detail="", phase="recovery")
    apply_noise_rule([failed], PHASES, lambda start, end: asked.append((start, end)))
    assert asked == [(140.0, 180.0)]


def test_cores_left_are_measured_in_the_window_only():
    samples = tuple(
        MachineSample(t=float(t), all_s=2.0 * t, busy_s=1.5 * t if t <= 8 else 99.0, own_s=0.3 * t) for t in range(10)
    )
    assert MachineRecord(kind={}, cores=2.0, samples=samples).cores_left(2.0, 8.0) == pytest.approx(0.8)


def test_seconds_in_which_others_took_the_cores_are_found_one_by_one():
    busy = [0.0, 0.2, 0.2, 1.6, 0.2]  # of other processes, in each second
    totals = [sum(busy[: at + 1]) for at in range(5)]
    samples = [
        MachineSample(t=float(at), all_s=2.0 * at, busy_s=used + 0.3 * at, own_s=0.3 * at)
        for at, used in enumerate(totals)
    ]
    assert MachineRecord(kind={}, cores=2.0, samples=tuple(samples)).contended(0.9) == ((2.0, 3.0),)
    assert MachineRecord(kind={}, cores=2.0, samples=()).contended(0.9) == ()


def test_a_failure_that_contended_seconds_alone_explain_is_invalid_although_the_average_is_fine():
    finding = judged(1.4, held_outside=lambda: {("latency-ms-p95", "during")})
    assert finding.status is Status.INVALID
    assert "it fails only with seconds in which they left less than 0.9 cores" in finding.detail


def test_a_failure_outside_the_contended_seconds_fails():
    assert judged(1.4, held_outside=lambda: {("latency-ms-p95", "after")}).status is Status.FAIL
    assert judged(1.4, name="throttled-calls-per-attempt", held_outside=_must_not_be_asked).status is Status.FAIL


def _must_not_be_asked():
    raise AssertionError("nothing that contention could explain has failed")


def test_attempts_in_work_during_contention_are_left_out():
    sent = [8.9, 9.6, 10.5, 11.9, 12.1]
    attempts = pd.DataFrame({"intended_ns": [int(at * 1e9) for at in sent]})
    assert (outside(attempts, [(10.0, 11.0)])["intended_ns"] / 1e9).tolist() == [8.9, 12.1]
