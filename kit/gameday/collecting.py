"""Collect the evidence of a run whose load has ended: wait for rest, prove the fault, read what the platform shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import collect, faults
from kit.aws.client_errors import ClientSource
from kit.collect import ledger
from kit.gameday.evidence import HISTORY
from kit.load import read_history
from kit.model import Deployment, RunFacts
from kit.process.machine import MachineSample
from kit.scenarios import Scenario

QUIESCE_TIMEOUT_S = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWindow:
    """From when to when the load was sent (epoch s)."""

    started_at: float
    ended_at: float


def collect_evidence(
    session: ClientSource,
    deployment: Deployment,
    *,
    run_dir: Path,
    scenario: Scenario,
    facts: RunFacts,
    load: LoadWindow,
    experiment: faults.Experiment | None,
    watch: collect.TaskWatch,
    machine_samples: Sequence[MachineSample],
) -> collect.Observations:
    """Write the ledger and the observations into the run's folder, which holds the load's history already.

    Call it as soon as the load's last answer has come. Raises CloudError and EvidenceMissing.
    """
    meters, answered_at = collect.Meters(session=session), time.time()
    edge = meters.edge_publishes(deployment, load.started_at)
    quiescence = ledger.quiesce(session, deployment, timeout_s=QUIESCE_TIMEOUT_S)
    # The last answer and commit came before the exchange was at rest, and their counts are published later.
    meters.settle(deployment, time.time() - ledger.STILL_S)
    fault = None
    if experiment is not None:
        # Evidence, independent of FIS, that the fault took effect and was reverted.
        fault = faults.prove(
            session, deployment, experiment, samples=watch, meters=meters,
            attempts=read_history(run_dir / HISTORY).attempts, evidence=scenario.evidence,
        )  # fmt: skip
    observed = collect.observe(
        session,
        deployment,
        run_dir=run_dir,
        facts=facts,
        load_started_at=load.started_at,
        load_ended_at=load.ended_at,
        fault=fault,
        quiescence=quiescence,
        stops=faults.unexplained_stops(session, deployment, fault, since=load.started_at),
        watch=watch,
        machine_samples=machine_samples,
        is_edge_settled=meters.settle_edge(deployment, answered_at, edge, load.started_at),
    )
    collect.write_observations(observed, run_dir)
    return observed
