"""Run PaperBroker from any source tree under the kit's load, and judge it by the kit's checks.

Processes are real and use the local AWS. ECS, the load balancer and FIS are left out, so that one round takes seconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import integrity, past
from kit.collect import ledger
from kit.load import LoadPlan, LoadRun, read_history
from kit.model import Deployment, Finding
from tests.paperbroker.paperbroker_rig import Process, Stage, running

RATE_PER_S = 24.0  # For one API task: half of what a game day sends to two.
QUIESCE_S_MAX = 30.0
# More resubmissions, cancels and reads than in a game day, so that a bad change shows within seconds.
CLIENTS: dict[str, Any] = {
    "clients": 40,
    "seed": 5,
    "resubmit_early_ratio": 0.2,
    "cancel_ratio": 0.15,
    "resubmit_ratio": 0.15,
    "read_back_ratio": 0.15,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The processes of one PaperBroker; clients reach the API on `api_port`."""

    api_port: int
    matchers: tuple[Process, ...]


@contextlib.contextmanager
def running_tasks(stage: Stage, env: dict[str, str], tree: Path, folder: Path) -> Iterator[Tasks]:
    """Run a relay, two matchers and an API from `tree` until they are ready."""
    with contextlib.ExitStack() as stack:
        _, *matchers, api = [
            stack.enter_context(running(role, stage.env | env, folder, tree))
            for role in ("relay", "matcher", "matcher", "api")
        ]
        yield Tasks(api_port=api.port, matchers=tuple(matchers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """AWS clients by name, as the kit requests them."""

    dynamodb: Any
    sqs: Any

    def client(self, name: str) -> Any:
        return getattr(self, name)


def deployment(stage: Stage, api_port: int) -> Deployment:
    """Describe the stage as a stack. The queue is also named as the dead-letter queue: it must be empty at the end."""
    tables = stage.settings.tables
    roles = ("orders", "outbox", "ledger", "markets", "positions", "applied")
    names = {f"{name.capitalize()}Table": getattr(tables, name) for name in roles}
    queues = dict.fromkeys(("QueueUrl", "DeadLetterQueueUrl"), stage.settings.queue_url)
    markets = {"Markets": ",".join(stage.settings.markets)}
    return Deployment(
        stack_name="rig", run_id="rig", api_url=f"http://127.0.0.1:{api_port}", outputs={**names, **queues, **markets}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The integrity findings of one round, and the tables from which objectives are evaluated."""

    findings: list[Finding]
    attempts: Any
    stream: Any
    connections: Any
    events: Any


def run_load(stage: Stage, api_port: int, folder: Path, meanwhile: Callable[[], None], *, duration_s: float) -> Outcome:
    """Send a load while `meanwhile` runs, wait until the queue is drained, and check the recorded run."""
    stack, clients = deployment(stage, api_port), Clients(dynamodb=stage.dynamodb, sqs=stage.sqs)
    plan = LoadPlan(
        api_url=stack.api_url,
        markets=stage.settings.markets,
        run_id=stage.settings.run_id,
        rate_per_s=RATE_PER_S,
        duration_max_s=duration_s,
        **CLIENTS,
    )
    load = LoadRun.start(plan, folder / "history")
    try:
        meanwhile()
        while (progress := load.progress()) and progress["state"] == "issuing":
            time.sleep(0.2)
        stats = load.finish()
    finally:
        load.close()
    ledger.quiesce(clients, stack, QUIESCE_S_MAX)
    history, tables = read_history(folder / "history"), ledger.read_ledger(clients, stack)
    ledger.write_ledger(tables, folder)
    past.record(past.Past(operations=(), answers=(), items={"ledger": ()}), folder)
    return Outcome(
        findings=integrity.check_run(folder, load=stats),
        attempts=history.attempts,
        stream=history.stream,
        connections=history.connections,
        events=tables.events,
    )
