"""A whole PaperBroker from a tree of one's choice under the kit's own load, judged by the kit's own checks.

The processes are real, the AWS is the local one; what a game day adds to this (ECS, a load balancer, FIS) is left out,
so that one round takes seconds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import integrity
from kit.collect import ledger
from kit.load import LoadPlan, LoadRun, read_history
from kit.model import Deployment, Finding
from tests.paperbroker.paperbroker_rig import Process, Stage, running

RATE_PER_S = 24.0  # for one api: half of what a game day asks of two
QUIET_S_MAX = 30.0
# Whatever a change breaks must come up in seconds: more probes and reads than in a game day.
CLIENTS: dict[str, Any] = {
    "clients": 40,
    "seed": 5,
    "resubmit_early_ratio": 0.2,
    "cancel_ratio": 0.15,
    "resubmit_ratio": 0.15,
    "read_back_ratio": 0.15,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The processes of one PaperBroker."""

    api: Process
    matchers: tuple[Process, ...]
    relay: Process


@contextlib.contextmanager
def exchange(stage: Stage, tree: Path, folder: Path, matchers: int = 2) -> Iterator[Exchange]:
    """One api, some matchers and a relay, as `tree` has them, ready."""
    with contextlib.ExitStack() as stack:
        start: Callable[[str], Process] = lambda role: stack.enter_context(running(role, stage.env, folder, tree))  # noqa: E731
        crew = tuple(start("matcher") for _ in range(matchers))
        yield Exchange(relay=start("relay"), matchers=crew, api=start("api"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """AWS clients by name, as the kit asks for them."""

    dynamodb: Any
    sqs: Any

    def client(self, name: str) -> Any:
        return getattr(self, name)


def deployment(stage: Stage, api: Process) -> Deployment:
    """The stage as the kit knows a stack. There is no dead-letter queue here: the queue itself is empty at the end."""
    tables = stage.settings.tables
    names = {f"{name.capitalize()}Table": getattr(tables, name) for name in ("orders", "outbox", "ledger", "markets")}
    queues = dict.fromkeys(("QueueUrl", "DeadLetterQueueUrl"), stage.settings.queue_url)
    markets = {"Markets": ",".join(stage.settings.markets), "PositionsTable": tables.positions}
    return Deployment(
        stack_name="rig", run_id="rig", api_url=f"http://127.0.0.1:{api.port}", outputs={**names, **queues, **markets}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The findings of integrity, and what else can be judged by."""

    found: list[Finding]
    attempts: Any
    stream: Any
    connections: Any
    events: Any


def judged(
    stage: Stage, running: Exchange, folder: Path, meanwhile: Callable[[], None], *, duration_s: float
) -> Judged:
    """Send a load, wait until all is quiet, and check everything; `meanwhile` runs while the load does."""
    stack, clients = deployment(stage, running.api), Clients(dynamodb=stage.dynamodb, sqs=stage.sqs)
    plan = LoadPlan(
        api_url=stack.api_url,
        markets=stage.settings.markets,
        run_id=stage.settings.run_id,
        rate_per_s=RATE_PER_S,
        duration_max_s=duration_s,
        **CLIENTS,
    )
    sent = LoadRun.start(plan, folder / "history")
    try:
        meanwhile()
        while (progress := sent.progress()) and progress["state"] == "issuing":
            time.sleep(0.2)
        stats = sent.finish()
    finally:
        sent.close()
    ledger.quiesce(clients, stack, QUIET_S_MAX)
    seen, kept = read_history(folder / "history"), ledger.read_ledger(clients, stack)
    (folder / "ledger").mkdir()
    for name in ("events", "orders", "positions", "outbox"):
        getattr(kept, name).to_parquet(folder / "ledger" / f"{name}.parquet", index=False)
    return Judged(
        found=integrity.check_run(folder, load=stats),
        attempts=seen.attempts,
        stream=seen.stream,
        connections=seen.connections,
        events=kept.events,
    )
