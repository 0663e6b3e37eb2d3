"""Write the folder of a run that the small exchange of `tests.histories` stands for, as a real run leaves it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from kit import collect
from kit.collect import ledger
from kit.collect.observations import MachineRecord
from kit.collect.task_samples import TARGET_COLUMNS, TASK_COLUMNS
from kit.files.seal import write_manifest
from kit.model import WARM_UP_S, FaultWindow
from tests.histories import execution, telemetry
from tests.histories.clients import DELIVERIES
from tests.histories.clock import T0_NS
from tests.histories.run_folder import SERIES, write
from tests.verdict.records import run_facts

STACK = Path(__file__).parents[2] / "paperbroker" / "deploy" / "stack.yaml"
START = T0_NS / 1e9
NOTHING = pd.DataFrame({"t": [], "value": []})
PARAMETERS = {
    "scenario": "steady-state", "rate_per_s": 24, "steady_s": 5, "fault_duration_s": 5, "recovery_s": 5,
    "past_orders": 20, "target": "local", "region": "us-east-1",
}  # fmt: skip


def calm_history() -> dict[str, Any]:
    """A history that meets every objective: all operations of the golden one, each answered at once."""
    draw = random.Random(7)
    actions = draw.choices(
        ("order", "cancel", "read", "reuse", "retry", "connect", "drop"), (6, 1, 1, 1, 1, 1, 1), k=700
    )
    # Numbers of a step choose its delivery by their remainders. These multiples choose the delivery "ok".
    number = draw.randrange
    steps = [
        (action, number(99), 2 * number(99), 3 * number(99), 3 * len(DELIVERIES) * number(99)) for action in actions
    ]
    return execution.play([step for one in steps for step in (one, ("sequence", 3, 0, 0, 0))])


def write_run_folder(folder: Path, tables: dict[str, Any]) -> Path:
    """A run of the scenario that breaks nothing, whose experiment took the middle third of the history."""
    write(tables, folder, segments=2)
    end = tables["attempts"]["completed_ns"].max() / 1e9
    third = (end - START) / 3
    fault = FaultWindow(
        experiment_id="EXP1", template="EXT1", status="completed", injected_at=START + third,
        ended_at=START + 2 * third, actions=({"name": "Nothing", "action_id": "aws:fis:wait", "proof": ""},),
    )  # fmt: skip
    tasks = pd.DataFrame([(START, "us-east-1a", "api", 1, 0)], columns=pd.Index(TASK_COLUMNS))
    observed = collect.Observations(
        facts=run_facts(scenario="steady-state", started_at=START - 10, parameters=PARAMETERS),
        load_started_at=START - WARM_UP_S,
        load_ended_at=end + 0.1,
        fault=fault,
        quiescence=ledger.Quiescence(quiet=True, waited_s=2.0, outbox=0, queued=0, dead_letters=0, sequences={"M": 3}),
        stops=(),
        gaps=(collect.Gap(start=START, end=START + 0.01, reason="a sample came late"),),
        alarms={"gameday-p95": [(START, "OK")]},
        machine=MachineRecord(kind={"cpus": 2}, cores=2.0, samples=()),
        tasks=tasks,
        targets=pd.DataFrame(columns=pd.Index(TARGET_COLUMNS)),
        series=dict.fromkeys(SERIES, NOTHING) | dict(telemetry.as_tables(tables["series"])),
    )
    collect.write_observations(observed, folder)
    shutil.copy(STACK, folder / "stack.yaml")
    collect.write_cleanup(collect.Cleanup(leftovers=(), ended_at=end + 5), folder)
    write_manifest(folder, headless=False)
    return folder
