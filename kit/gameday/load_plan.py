"""Make a run's load plan, and write the past behind which the load starts."""

from __future__ import annotations

import time
from dataclasses import replace

from kit import past
from kit.aws.client_errors import ClientSource
from kit.gameday.parameters import SOURCE, Parameters
from kit.load import LoadPlan, past_operations
from kit.model import Deployment
from kit.scenarios import Scenario

# What an experiment may need after its duration, for its undo and its last state.
EXPERIMENT_SLACK_S = 60


def load_plan(scenario: Scenario, p: Parameters, deployment: Deployment) -> LoadPlan:
    """Make the plan of a load on an empty ledger."""
    return LoadPlan(
        api_url=deployment.api_url,
        markets=tuple(deployment.outputs["Markets"].split(",")),
        # A prefix of keys and order ids, short because people read them in counterexamples.
        run_id=p.run_id.rpartition("-")[2],
        seed=p.seed,
        rate_per_s=p.rate_per_s,
        clients=scenario.clients,
        duration_max_s=p.steady_s + p.fault_duration_s + p.recovery_s + 2 * EXPERIMENT_SLACK_S,
        **scenario.load,
    )


def write_past(session: ClientSource, deployment: Deployment, plan: LoadPlan, p: Parameters) -> tuple[LoadPlan, int]:
    """Write a past of `p.past_orders` orders into the tables and the run's folder.

    Returns the plan of a load that starts behind it, and how many items were written.
    """
    plan = replace(plan, past_orders=p.past_orders)
    operations = (operation._asdict() for operation in past_operations(plan))
    earlier = past.compute(operations, markets=plan.markets, source=SOURCE, now_ns=time.time_ns())
    written = past.write(session, deployment, earlier)
    past.record(earlier, p.run_dir)
    return replace(plan, past_seqs=earlier.seqs(plan.markets)), written
