"""Read back what the platform and this machine showed of a run, and keep it in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kit.aws.client_errors import ClientSource
from kit.collect import ledger
from kit.collect.alarms import alarm_history, guardrails
from kit.collect.ledger import Quiescence
from kit.collect.metric_series import series
from kit.collect.task_samples import Gap, TaskWatch
from kit.model import Deployment, FaultWindow, RunFacts, TaskStop
from kit.process import cpu, machine


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """The machine that made the load: its class, how many cores the run could use, and one sample a second."""

    kind: Mapping[str, Any]
    cores: float
    samples: tuple[machine.MachineSample, ...]

    def cores_left(self, start: float, end: float) -> float | None:
        """Return how many cores other processes left to the run between two epoch seconds; None without samples."""
        return machine.cores_left([sample for sample in self.samples if start <= sample.t <= end], self.cores)

    def contended(self, left_min: float) -> tuple[tuple[float, float], ...]:
        """Return from when to when (epoch s) other processes left the run fewer than `left_min` cores."""
        return machine.contended(self.samples, self.cores, left_min)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What was observed of a run, apart from the clients' history and the ledger. Times are epoch seconds.

    `stops` are tasks that stopped neither for the experiment nor for the scheduler. `tasks` and `targets` have the
    columns of `TaskWatch`; `series` are tables `t`, `value` by name.
    """

    facts: RunFacts
    load_started_at: float
    load_ended_at: float
    fault: FaultWindow | None
    quiescence: Quiescence
    stops: tuple[TaskStop, ...]
    gaps: tuple[Gap, ...]
    alarms: Mapping[str, Sequence[tuple[float, str]]]
    machine: MachineRecord
    tasks: pd.DataFrame
    targets: pd.DataFrame
    series: Mapping[str, pd.DataFrame]

    def tasks_by_zone(self) -> pd.DataFrame:
        """Count the running tasks of all services in each zone: columns t, zone, running."""
        return pd.DataFrame(self.tasks.groupby(["t", "zone"], as_index=False)["running"].sum())


def observe(
    session: ClientSource,
    deployment: Deployment,
    *,
    run_dir: Path,
    facts: RunFacts,
    load_started_at: float,
    load_ended_at: float,
    fault: FaultWindow | None,
    quiescence: Quiescence,
    stops: Sequence[TaskStop],
    watch: TaskWatch,
    machine_samples: Sequence[machine.MachineSample],
    is_edge_settled: bool,
) -> Observations:
    """Read alarms and metrics of the load's time; the ledger goes into the run's folder at once. Raises CloudError.

    `is_edge_settled`: the load balancer has published all that it counted during the load.
    """
    ledger.write_ledger(ledger.read_ledger(session, deployment), run_dir)
    zones = {zone for zone, _ in watch.zones.values()}
    return Observations(
        facts=facts,
        load_started_at=load_started_at,
        load_ended_at=load_ended_at,
        fault=fault,
        quiescence=quiescence,
        stops=tuple(stops),
        gaps=watch.gaps(),
        alarms=alarm_history(session, guardrails(deployment), load_started_at, load_ended_at),
        machine=MachineRecord(kind=machine.class_of_machine(), cores=cpu.cores(), samples=tuple(machine_samples)),
        tasks=watch.tasks(),
        targets=watch.targets(),
        series=series(session, deployment, load_started_at, time.time(), zones=zones, is_edge_settled=is_edge_settled),
    )
