"""PaperBroker passes the checks under load and simulated faults; with a known bad change it fails the named checks.

One round takes half a minute: real processes, the local AWS, the kit's load and checks, and a simulated fault in place
of the scenario's. Whether a whole game day detects a change is tested by game days.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import integrity, scenarios, slo
from kit.gameday.findings import OTHER_CHECKS
from kit.integrity.checks import telemetry, telemetry_lag, telemetry_latency
from kit.model import Phase, Status
from kit.slo.objectives import Metric
from tests.paperbroker.change_rig import run_load, running_tasks
from tests.paperbroker.known_changes import CHANGES, ROOT, copy_tree, header, of_stack
from tests.paperbroker.paperbroker_rig import Stage
from tests.paperbroker.simulated_faults import BEFORE_S, FAULTS, simulated_fault

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(240)]
AFTER_S = 6.0  # The load goes on for this long after the fault, so that it meets the fault's consequences.
# Without a fault, a change needs many orders to show.
MANY_ORDERS_S = 22.0
# Scenarios whose latency limit is generous enough to hold on a shared machine.
TIMED = {"api-latency", "data-throttling"}
LATENCY = Metric.LATENCY_MS_P95.check
# Checks that read the metrics that PaperBroker publishes, its tasks or its stack. Only game days have these.
PUBLISHED = {
    *OTHER_CHECKS,
    Metric.THROTTLED_CALLS_PER_ATTEMPT.check,
    *(check.name for check in (*telemetry.CHECKS, *telemetry_latency.CHECKS, *telemetry_lag.CHECKS)),
}


def failed_checks(scenario: str, tree: Path, stage: Stage, folder: Path, duration_s: float = 0.0) -> set[str]:
    """Run one round; return the failed checks of integrity and of the scenario's limits during the fault."""
    phases: list[Phase] = []
    with simulated_fault(scenario, stage) as fault, running_tasks(stage, fault.env, tree, folder) as tasks:
        port = tasks.api_port
        if fault.api_proxy is not None:
            fault.api_proxy.target_port, port = port, fault.api_proxy.port
        duration_s = duration_s or fault.duration_s
        run_fault = lambda: phases.append(fault.run(tasks, duration_s))  # noqa: E731
        outcome = run_load(stage, port, folder, run_fault, duration_s=BEFORE_S + duration_s + AFTER_S)
    limits = [objective for objective in scenarios.get(scenario).objectives if objective.phase == phases[0].name]
    judged = slo.evaluate(outcome.attempts, outcome.stream, outcome.connections, outcome.events, phases, limits)
    return {finding.name for finding in [*outcome.findings, *judged] if finding.status is Status.FAIL}


@pytest.mark.parametrize("scenario", sorted(FAULTS))
def test_paperbroker_passes_the_checks_during_a_fault(scenario: str, local_stage: Stage, tmp_path: Path):
    """No integrity check fails, nor the latency limit where the machine's speed cannot break it."""
    failed = failed_checks(scenario, ROOT, local_stage, tmp_path)
    assert failed & {check.name for check in integrity.CHECKS} == set()
    if scenario in TIMED:
        assert LATENCY not in failed


def shown_by_clients(diff: Path) -> bool:
    """Whether a round shows the change: its fault is simulated, and a check names it that reads no metrics."""
    fields = header(diff)
    by_clients = set(fields["caught-by"].split(", ")) - PUBLISHED
    return fields["scenario"] in FAULTS and not of_stack(diff) and bool(by_clients)


@pytest.mark.parametrize("diff", [d for d in CHANGES if shown_by_clients(d)], ids=lambda path: path.stem)
def test_change_fails_the_checks_that_it_names(diff: Path, local_stage: Stage, tmp_path: Path):
    """Every check in `caught-by` fails, except those that read published metrics. Changes of the stack need a stack."""
    fields = header(diff)
    needs_many = (fields["scenario"], fields["visible-since"]) == ("steady-state", "load")
    tree = copy_tree(tmp_path / "tree", diff)
    failed = failed_checks(fields["scenario"], tree, local_stage, tmp_path, MANY_ORDERS_S if needs_many else 0.0)
    named = set(fields["caught-by"].split(", ")) - PUBLISHED
    assert named - failed == set()
