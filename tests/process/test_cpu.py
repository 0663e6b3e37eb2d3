"""Test how CPU time is read from /proc, with real processes that use it and with planted counters."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.process import cpu, cpu_contention
from kit.process.cpu_contention import CpuSample, CpuSampler
from kit.process.machine import MachineSample, MachineWatch, class_of_machine, cores_left

BURN_S = 1.0
PROGRAMS = Path(__file__).with_name("programs")


@pytest.mark.parametrize(
    ("quota", "share"), [("max 100000", 1.0), ("50000 100000", None), (None, 1.0), ("nonsense", 1.0)]
)
def test_cores_are_limited_by_affinity_and_by_the_quota(tmp_path, monkeypatch, quota, share):
    """Half a core of quota is half a core; without a readable quota only the affinity counts."""
    monkeypatch.setattr(cpu, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(quota)
    assert cpu.cores() == (0.5 if share is None else len(os.sched_getaffinity(0)))
    assert class_of_machine()["cpus"] == cpu.cores()


def test_only_cpus_on_which_this_process_may_run_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1})
    ticks = cpu.TICKS_PER_S
    rows = [f"cpu{number} {number * ticks} 0 {ticks} {2 * ticks} 0 0 0 {ticks} 7 7" for number in range(3)]
    (tmp_path / "stat").write_text("\n".join(["cpu 9 9 9 9 9 9 9 9 9 9", *rows, "intr 1", ""]))
    assert cpu.cpu_times(tmp_path) == cpu.CpuTimes(all_s=5.0, busy_s=2.0, stolen_s=1.0)


def machine_sample(t: float, busy_s: float, own_s: float, cpus: int = 2) -> MachineSample:
    return MachineSample(t=t, all_s=t * cpus, busy_s=busy_s, own_s=own_s)


def test_cores_that_the_run_itself_used_count_as_left_to_it():
    assert cores_left([machine_sample(0, 100, 10), machine_sample(10, 115, 20)], 2) == 2 - 0.5


def test_a_quota_bounds_what_is_left_and_others_on_other_cores_take_nothing_of_it():
    """On eight cores, of which other processes use four, a run with a quota of one core has the whole core."""
    samples = [machine_sample(0, 0, 0, cpus=8), machine_sample(10, 45, 5, cpus=8)]
    assert cores_left(samples, 1) == 1
    assert cores_left(samples, 8) == 4


def test_one_sample_gives_no_measurement_of_the_cores_left():
    assert cores_left([machine_sample(0, 1, 1)], 2) is None


def own_s_while(*words: str) -> float:
    """Return the CPU seconds that count as the test's own while another process burns them."""
    argv = [sys.executable, "-S", str(PROGRAMS / "burn.py"), str(BURN_S), *words]
    before = cpu.tree_seconds({"own": [os.getpid()]})["own"]
    subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=60)
    return cpu.tree_seconds({"own": [os.getpid()]})["own"] - before


def test_a_child_counts_as_own_and_a_detached_process_does_not():
    assert own_s_while() >= 0.9 * BURN_S
    assert own_s_while("detached") <= 0.5 * BURN_S


def test_a_named_process_belongs_to_the_run():
    """A local AWS that stays up between runs is not a child of the run, but it works for the run."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
    other = [sys.executable, str(PROGRAMS / "watch.py"), str(child.pid)]
    shown = subprocess.run(other, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    child.kill()
    child.wait()
    without_s, with_s = map(float, shown)
    assert with_s > 2 * without_s + 0.2


def test_a_watch_keeps_the_samples_that_it_took():
    watch = MachineWatch.start()
    time.sleep(1.2)
    watch.stop()
    left = cores_left(watch.samples, cpu.cores())
    assert left is not None and 0 <= left <= cpu.cores()


def a_sample(busy_s: float, own_s: float, stolen_s: float = 0.0, at: float = 1.0) -> CpuSample:
    return CpuSample(
        at=at, span_s=1.0, all_s=2.0, allowed_s=2.0, busy_s=busy_s, stolen_s=stolen_s, stalled_s=None,
        trees_s={"run": own_s},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sample", "starves"),
    [
        (a_sample(2.0, 1.0), True),
        (a_sample(2.0, 1.95), False),
        (a_sample(1.2, 0.6), False),
        (a_sample(1.0, 1.0, stolen_s=1.0), True),
    ],
    ids=["beside-others", "all-its-own", "room-left", "stolen"],
)
def test_a_run_starves_when_others_leave_nothing_to_spare(sample, starves):
    assert sample.starves("run") is starves


def test_runs_that_use_up_a_quota_starve_each_other_on_an_idle_machine():
    alone = CpuSample(
        at=1.0, span_s=1.0, all_s=64.0, allowed_s=2.0, busy_s=2.1, stolen_s=0, stalled_s=None, trees_s={"run": 2.0}
    )
    beside = dataclasses.replace(alone, trees_s={"run": 1.0, "other": 1.0})
    assert beside.starves("run") and not alone.starves("run")


def test_contention_counts_only_the_measured_time():
    samples = [a_sample(2.0, 0.2, at=10.0), a_sample(1.0, 0.6, at=11.0), a_sample(1.0, 0.8, at=12.0)]
    found = cpu_contention.contention(samples, "run", 10.0, 12.0)
    assert found is not None
    assert (found.seconds, found.starved_share) == (2.0, 0.0)
    assert found.own_cores == pytest.approx(0.7) and found.others_share == pytest.approx(0.15)
    assert found.stalled_share is None and "2 s measured" in str(found)
    assert cpu_contention.contention(samples, "run", 50.0, 60.0) is None


def test_what_other_processes_take_is_averaged_over_the_last_samples():
    samples = [a_sample(2.0, 0.5, at=10.0), a_sample(1.5, 0.5, stolen_s=0.5, at=11.0), a_sample(0.5, 0.5, at=12.0)]
    assert cpu_contention.other_processes_cores(samples, 10.0) == pytest.approx(0.75)
    assert cpu_contention.other_processes_cores([], 0.0) == 0.0


def test_the_time_of_a_tree_counts_children_that_have_ended():
    sampler = CpuSampler()
    with subprocess.Popen(
        [sys.executable, "-S", str(PROGRAMS / "burn_with_child.py")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sample = sampler.sample({"run": process.pid})
        process.kill()
    assert sample is not None
    assert 0.7 <= sample.trees_s["run"] < 1.2
    # Both are sums of ticks of a hundredth of a second.
    assert sample.all_s + 0.001 >= sample.busy_s >= sample.trees_s["run"] * 0.9
    assert sampler.used_s("run") == pytest.approx(sample.trees_s["run"])
    assert cpu.tree_seconds({"run": [process.pid]}) == {}


def test_a_machine_without_counters_gives_no_sample(tmp_path):
    sampler = CpuSampler(proc=tmp_path)
    time.sleep(0.01)
    assert sampler.sample({}) is None
