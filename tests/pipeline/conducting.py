"""Play the pipeline's state machine on the engine alone: every service that it calls is scripted, time is fake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kit.local.stepfunctions.executions import Execution
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed
from kit.pipeline.conductor_stack import DEFINITION
from kit.pipeline.run_plan import SCHEMA
from tests.local.states_rig import FakeTime, Rig, play

RUN = "az-loss-1"
NAMES = {"Partition": "aws", "Subnets": "s-1,s-2", "SecurityGroup": "g", "Cluster": "c", "ArtifactsBucket": "artifacts",
         "Topic": "arn:aws:sns:us-east-1:000000000000:topic"}  # fmt: skip
TIMES = {
    "ready_s_max": 180, "lead_s": 8, "warm_up_s": 3.0, "steady_s": 15, "settle_s": 6, "experiment_s_max": 80,
    "poll_s": 1, "recovered_s": 12.0, "recovery_s": 30, "stop_ahead_s": 4, "load_s_max": 400.0, "load_task_s_max": 1000,
    "watch_s_max": 1000, "judge_s_max": 900,
}  # fmt: skip
PLAN = {
    "schema": SCHEMA, "shards": 3, "template_id": "EXT1", "load": {"markets": ["ACME"], "rate_per_s": 48.0},
    "times": TIMES, "assertions": {"steady-state": {"assertion": "steady-state"}, "slos": {"assertion": "slos"}},
}  # fmt: skip
DIAGNOSIS = {
    "verdict": "FAIL", "title": "Game day az-loss: FAIL: no-double-fill", "source": "gameday-pipeline", "reason": "why",
    "description": "d", "data": {"run": {"Value": RUN, "Type": "SearchableString"}}, "subject": "s", "message": "m",
}  # fmt: skip


def definition() -> dict[str, Any]:
    """Return the machine as CloudFormation substitutes it; what is not in NAMES stands for itself."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: NAMES.get(found[1], found[1]), DEFINITION.read_text())
    return json.loads(text)


def asserted(*, metrics: bool = True, ledger: bool = True) -> dict[str, Any]:
    return {
        "pass": metrics and ledger,
        "details": {
            "assertion": "a",
            "reasons": [],
            "metrics": [{"name": "m", "pass": metrics}, {"name": "n", "pass": True}],
        },
    }


def failed(code: str = "InternalError") -> CallFailed:
    return CallFailed(code, "it failed", status=500)


@dataclass
class Cloud:
    """The services, with what a test changes about them. Tasks run for as long as the load does."""

    verdict: str = "PASS"
    ready: int = 4
    steady: dict[str, Any] = field(default_factory=asserted)
    slos: dict[str, Any] = field(default_factory=asserted)
    experiment_s: float = 20
    dies_after_s: dict[str, float] = field(default_factory=dict)
    open_items: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)  # calls that fail, as `service:operation` or as a function
    objects: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    experiment_at: float | None = None
    said: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    invoked: list[tuple[str, Any]] = field(default_factory=list)
    time: FakeTime | None = None
    load_ended_at: float | None = None

    def answers(self) -> dict[str, Callable[[Any], Any]]:
        made = {
            "s3_GetObject": self._get, "s3_PutObject": self._put,
            "s3_ListObjectsV2": lambda _: {"KeyCount": self.ready},
            "ecs_RunTask": self._run_task, "ecs_DescribeTasks": self._describe_tasks, "ecs_StopTask": self._stop_task,
            "lambda_Invoke": self._invoke, "fis_StartExperiment": self._start_experiment,
            "fis_GetExperiment": self._get_experiment, "ssm_CreateOpsItem": self._create,
            "ssm_UpdateOpsItem": self._update,
            "ssm_DescribeOpsItems": lambda _: {"OpsItemSummaries": [{"OpsItemId": one} for one in self.open_items]},
            "sns_Publish": lambda given: self.said.append(given) or {"MessageId": "1"},
        }  # fmt: skip
        return {name: self._guarded(name.replace("_", ":", 1), answer) for name, answer in made.items()}

    def _guarded(self, name: str, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda given: failed() if name in self.broken else answer(given)

    @property
    def now(self) -> float:
        assert self.time is not None
        return self.time.now

    def _get(self, given: Any) -> Any:
        key = given["Key"].removeprefix(f"{RUN}/")
        found = {"plan.json": PLAN, "judged.json": {"verdict": self.verdict, "scenario": "az-loss"}}
        return failed("NoSuchKey") if f"get:{key}" in self.broken else {"Body": json.dumps(found[key])}

    def _put(self, given: Any) -> Any:
        key = given["Key"].removeprefix(f"{RUN}/")
        self.objects[key] = given["Body"]
        if key == "load/stop.json":
            self.load_ended_at = given["Body"]["stops_at_ms"] / 1_000
        return {}

    def _run_task(self, given: Any) -> Any:
        container = given["Overrides"]["ContainerOverrides"][0]
        name = container["Name"] if container["Name"] != "load" else f"load-{container['Command'][-1]}"
        assert given["Group"] == RUN
        self.tasks[name] = {"began": self.now, "command": container["Command"]}
        return {"Tasks": [{"TaskArn": name}], "Failures": []}

    def _describe_tasks(self, given: Any) -> Any:
        (name,) = given["Tasks"]
        began = self.tasks[name]["began"]
        over = (
            self.now > began + 5
            if name == "judge"
            else self.load_ended_at is not None and self.now > self.load_ended_at + 9
        )
        died = self.now > began + self.dies_after_s.get(name, 1e9)
        if not (over or died or name in self.stopped):
            return {"Tasks": [{"TaskArn": name, "LastStatus": "RUNNING"}], "Failures": []}
        code = 137 if died else 0
        described = {"TaskArn": name, "LastStatus": "STOPPED", "StopCode": "EssentialContainerExited"}
        return {"Tasks": [{**described, "Containers": [{"ExitCode": code}]}], "Failures": []}

    def _stop_task(self, given: Any) -> Any:
        self.stopped.append(given["Task"])
        return {}

    def _invoke(self, given: Any) -> Any:
        function, asked = given["FunctionName"], json.loads(given["Payload"])
        self.invoked.append((function, asked))
        if function in self.broken:
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": json.dumps({"errorType": "NotEnded"})}
        if function == "AssertionFunction":
            answer = self.steady if asked["assertion"] == "steady-state" else self.slos
        else:
            answer = {"CleanUpFunction": {"leftovers": []}, "DiagnoseFunction": DIAGNOSIS | {"verdict": self.verdict}}[
                function
            ]
        return {"StatusCode": 200, "Payload": json.dumps(answer)}

    def _start_experiment(self, given: Any) -> Any:
        assert given["Tags"] == {"GameDay": "allowed", "RunId": RUN} and given["ClientToken"] == RUN
        self.experiment_at = self.now
        return {"Experiment": {"Id": "EXP1"}}

    def _get_experiment(self, _given: Any) -> Any:
        assert self.experiment_at is not None
        over = self.now > self.experiment_at + self.experiment_s
        return {"Experiment": {"Id": "EXP1", "State": {"Status": "completed" if over else "running"}}}

    def _create(self, given: Any) -> Any:
        self.items.append(given)
        return {"OpsItemId": "oi-1"}

    def _update(self, given: Any) -> Any:
        self.updates.append(given)
        return {}

    def invocations(self, function: str) -> list[Any]:
        return [asked for name, asked in self.invoked if name == function]


def conduct(cloud: Cloud, *, name: str = RUN, stop_after_s: float | None = None) -> Execution:
    """Run an execution to its end, or stop it after some seconds."""

    async def script(rig: Rig) -> Execution:
        cloud.time = rig.time
        machine = rig.machine(definition())
        execution = rig.engine.start(machine.revision, name, json.dumps({"run_id": RUN}))
        if stop_after_s is not None:
            await rig.time.sleep(stop_after_s)
            await rig.engine.stop(execution, "Stopped", "by a test")
        await execution.ended.wait()
        return execution

    return play(script, **cloud.answers())


def entered(execution: Execution) -> list[str]:
    """Return the states in the order in which they were entered."""
    events = (event for event in execution.history.events if event["type"].endswith("StateEntered"))
    return [event["stateEnteredEventDetails"]["name"] for event in events]
