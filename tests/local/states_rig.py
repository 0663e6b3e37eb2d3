"""Run state machines on the engine alone: time passes only when everything waits, and calls get scripted answers."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from kit.local.stepfunctions.clocks import Clock
from kit.local.stepfunctions.definition import checks
from kit.local.stepfunctions.engine import Engine
from kit.local.stepfunctions.executions import Execution
from kit.local.stepfunctions.machines import STANDARD, Revision, StateMachine
from kit.local.stepfunctions.tasks.sdk_calls import Answer, CallFailed

PREFIX = "arn:aws:states:us-east-1:000000000000:"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:work"
START = 1_700_000_000.0
# So many turns of the event loop without progress mean that everything waits for time.
IDLE_TURNS = 60


class FakeTime:
    """A clock that jumps to the next wake-up when nothing else happens."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), future))
        await future

    async def pass_by(self) -> None:
        """Let time pass for ever."""
        while True:
            for _ in range(IDLE_TURNS):
                await asyncio.sleep(0)
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            if self._waiting:
                at, _, future = heapq.heappop(self._waiting)
                self.now = max(self.now, at)
                future.set_result(None)


@dataclass(slots=True)
class ScriptedCalls:
    """Answer API calls by operation: with a value, an exception, or what a function makes of the parameters."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def call(
        self, service: str, operation: str, parameters: Mapping[str, Any], *, is_sdk: bool = False
    ) -> Answer:
        self.made.append((f"{service}:{operation}", dict(parameters)))
        found = self.answers[f"{service}:{operation}"]
        if callable(found):
            found = cast(Any, found)(parameters)
        if isinstance(found, asyncio.Future):
            found = await found
        if isinstance(found, CallFailed):
            raise found
        return Answer(output=found, meta={})


@dataclass(slots=True, kw_only=True)
class Rig:
    """An engine with its fakes."""

    engine: Engine
    time: FakeTime
    calls: ScriptedCalls

    def machine(self, definition: Mapping[str, Any], name: str = "m", kind: str = STANDARD) -> StateMachine:
        """Create a machine whose definition is checked."""
        text = json.dumps(definition)
        assert [str(each) for each in checks.problems(text, kind)] == []
        arn = f"{PREFIX}stateMachine:{name}"
        revision = Revision(
            arn=arn, name=name, kind=kind, role_arn="arn:aws:iam::000000000000:role/r", definition=text, logging={},
            revision_id=name, updated_at=START,
        )  # fmt: skip
        machine = StateMachine(arn=arn, created_at=START, revision=revision, tags={})
        self.engine.machines.add(machine)
        return machine

    def start(self, definition: Mapping[str, Any], given: Any = None, kind: str = STANDARD) -> Execution:
        """Start an execution of a new machine."""
        machine = self.machine(definition, f"m{len(self.engine.all())}", kind)
        return self.engine.start(machine.revision, None, json.dumps({} if given is None else given))


def play(script: Callable[[Rig], Any], **answers: Any) -> Any:
    """Run a coroutine with a rig in fake time; `service_Operation` names the answer to a call."""

    async def run() -> Any:
        time = FakeTime()
        calls = ScriptedCalls({name.replace("_", ":", 1): answer for name, answer in answers.items()})
        engine = Engine(
            calls=calls,  # type: ignore[arg-type]
            host="127.0.0.1", clock=Clock(lambda: time.now, time.sleep, lambda: 0.5),
            on_status=lambda execution: None, on_event=lambda execution, event: None,
        )  # fmt: skip
        passing = asyncio.create_task(time.pass_by())
        try:
            async with asyncio.timeout(10):
                return await script(Rig(engine=engine, time=time, calls=calls))
        finally:
            passing.cancel()
            await engine.close()

    return asyncio.run(run())


def run(definition: Mapping[str, Any], given: Any = None, kind: str = STANDARD, **answers: Any) -> Execution:
    """Run one execution to its end."""

    async def script(rig: Rig) -> Execution:
        execution = rig.start(definition, given, kind)
        await execution.ended.wait()
        return execution

    return play(script, **answers)


def events(execution: Execution) -> list[str]:
    """Return the types of an execution's events."""
    return [event["type"] for event in execution.history.events]


def one(kind: str = "Pass", **fields: Any) -> dict[str, Any]:
    """Return a machine of one state, called A, which is the last one if its type can be."""
    end = {} if kind in ("Succeed", "Fail", "Choice") or "Next" in fields else {"End": True}
    return {"StartAt": "A", "States": {"A": {"Type": kind, **end, **fields}}}


def chain(**states: Mapping[str, Any]) -> dict[str, Any]:
    """Return a machine of states, each of which leads to the next where it does not say otherwise."""
    names, made = list(states), {}
    for position, (name, state) in enumerate(states.items()):
        is_final = state["Type"] in ("Succeed", "Fail", "Choice") or {"Next", "End"} & set(state)
        following = {"End": True} if position == len(names) - 1 else {"Next": names[position + 1]}
        made[name] = {**state, **({} if is_final else following)}
    return {"StartAt": names[0], "States": made}
