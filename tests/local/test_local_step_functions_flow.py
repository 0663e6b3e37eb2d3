"""What flows through the states, how errors are retried and caught, and what stops what."""

from __future__ import annotations

from typing import Any

import pytest

from kit.local.stepfunctions import engine
from tests.local.states_rig import PREFIX, START, Rig, chain, events, one, play, run

PASS = {"Type": "Pass"}
BOOM = {"Type": "Fail", "Error": "Boom", "Cause": "why"}


def output(definition: dict[str, Any], given: Any = None) -> Any:
    execution = run(definition, given)
    assert execution.status == "SUCCEEDED", (execution.error, execution.cause)
    return execution.output


@pytest.mark.parametrize(
    ("fields", "given", "wanted"),
    [
        ({"InputPath": "$.a"}, {"a": 1}, 1),
        ({"InputPath": None}, {"a": 1}, {}),
        ({"OutputPath": "$.a"}, {"a": [1]}, [1]),
        ({"OutputPath": None}, {"a": 1}, {}),
        ({"Result": 7, "ResultPath": "$.b.c"}, {"a": 1}, {"a": 1, "b": {"c": 7}}),
        ({"Result": 7, "ResultPath": "$.l[1]"}, {"l": [1, 2]}, {"l": [1, 7]}),
        ({"Result": 7, "ResultPath": None}, {"a": 1}, {"a": 1}),
        ({"InputPath": "$.a", "ResultPath": "$.r"}, {"a": 1}, {"a": 1, "r": 1}),
        ({"Parameters": {"k": {"x.$": "$.a"}}}, {"a": 1}, {"k": {"x": 1}}),
        ({"Parameters": {"l": [{"y.$": "$$.State.Name"}]}}, {}, {"l": [{"y": "A"}]}),
        ({"Result": {"x.$": "$.a"}}, {"a": 1}, {"x.$": "$.a"}),
        ({"QueryLanguage": "JSONata", "Output": {"s": "{% $states.input.a + 1 %}"}}, {"a": 1}, {"s": 2}),
        ({"QueryLanguage": "JSONata", "Output": None}, {"a": 1}, None),
        ({"QueryLanguage": "JSONata", "Output": "{% null %}"}, {"a": 1}, None),
    ],
)  # fmt: skip
def test_a_pass_state_shapes_its_output(fields: dict[str, Any], given: Any, wanted: Any) -> None:
    assert output(one(**fields), given) == wanted


@pytest.mark.parametrize(
    ("definition", "given", "error", "cause"),
    [
        (one(InputPath="$.x.y"), {}, "States.Runtime", "Invalid path '$.x.y' : Missing property in path $['x']"),
        (one(Parameters={"a.$": "$.b"}), {}, "States.Runtime", "for the field 'a.$' could not be found"),
        (one(Parameters={"a.$": "$gone"}), {}, "States.Runtime", "'$gone' specified for the field 'a.$'"),
        (one(Result=1, ResultPath="$.a.b"), {"a": 5}, "States.ResultPathMatchFailure", "'$.a.b'"),
        (one(Parameters={"a.$": "States.ArrayGetItem($.l, 9)"}), {"l": []}, "States.IntrinsicFailure", "out of bounds"),
        (one(QueryLanguage="JSONata", Output=["{% $gone %}"]), {}, "States.QueryEvaluationError", "'Output[0]'"),
        (one("Wait", SecondsPath="$.s"), {"s": "soon"}, "States.Runtime", "SecondsPath"),
        (one("Wait", TimestampPath="$.s"), {"s": "2020-01-01"}, "States.Runtime", "$.s == 2020-01-01"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_fails_with_its_state_and_event(
    definition: dict[str, Any], given: Any, error: str, cause: str
) -> None:
    execution = run(definition, given)
    assert (execution.status, execution.error) == ("FAILED", error)
    assert "An error occurred while executing the state 'A' (entered at the event id #2). " in str(execution.cause)
    assert cause in str(execution.cause)
    assert ("EvaluationFailed" in events(execution)) == (error == "States.QueryEvaluationError")


def test_variables_are_assigned_together_and_seen_by_branches_alone() -> None:
    """An inner assignment does not reach outside, and all values of one Assign are those from before."""
    inner = {
        "StartAt": "I",
        "States": {"I": {**PASS, "Assign": {"y.$": "$x"}, "Parameters": {"x.$": "$x"}, "End": True}},
    }
    definition = chain(
        S={**PASS, "Assign": {"x": 1, "y": 2}},
        T={**PASS, "Assign": {"x.$": "$y", "y.$": "$x"}},
        P={"Type": "Parallel", "Branches": [inner]},
        Q={**PASS, "Parameters": {"x.$": "$x", "y.$": "$y", "inner.$": "$"}},
    )
    assert output(definition) == {"x": 2, "y": 1, "inner": [{"x": 2}]}


def test_assign_reads_the_result_and_jsonata_reads_jsonpath_variables() -> None:
    definition = chain(
        S={**PASS, "Result": {"n": 4}, "Assign": {"n.$": "$.n"}},
        T={**PASS, "QueryLanguage": "JSONata", "Output": "{% $n * 2 %}"},
    )
    assert output(definition) == 8


@pytest.mark.parametrize("value", [3, "3"])
def test_a_limit_may_be_a_number_in_a_text(value: Any) -> None:
    inner = {"StartAt": "I", "States": {"I": {**PASS, "End": True}}}
    definition = one("Map", ItemsPath="$.l", MaxConcurrencyPath="$.n", ItemProcessor=inner)
    assert output(definition, {"l": [1, 2], "n": value}) == [1, 2]


def test_a_wait_sleeps_until_its_time() -> None:
    async def script(rig: Rig) -> float:
        execution = rig.start(chain(W={"Type": "Wait", "Seconds": 90}, U={"Type": "Wait", "TimestampPath": "$.at"}), AT)
        await execution.ended.wait()
        assert execution.status == "SUCCEEDED"
        return rig.time.now - START

    # 2023-11-14T22:15:20Z is 120 s after the start.
    AT = {"at": "2023-11-14T22:15:20Z"}
    assert play(script) == 120


# ---- errors


def failing(**fields: Any) -> dict[str, Any]:
    """Return a Parallel whose only branch fails with Boom."""
    branch = {"StartAt": "F", "States": {"F": BOOM}}
    return chain(P={"Type": "Parallel", "Branches": [branch], **fields}, N=PASS)


@pytest.mark.parametrize(
    ("names", "is_caught"),
    [
        (["Boom"], True),
        (["States.ALL"], True),
        (["States.TaskFailed"], True),
        (["Other"], False),
        (["States.Timeout"], False),
    ],
)
def test_a_catcher_matches_by_name(names: list[str], is_caught: bool) -> None:
    execution = run(failing(Catch=[{"ErrorEquals": names, "Next": "N", "ResultPath": "$.e"}]), {"i": 1})
    if is_caught:
        assert execution.output == {"i": 1, "e": {"Error": "Boom", "Cause": "why"}}
    else:
        assert (execution.status, execution.error, execution.cause) == ("FAILED", "Boom", "why")


def test_a_runtime_error_inside_is_caught_by_nobody() -> None:
    branch = {"StartAt": "F", "States": {"F": {**PASS, "InputPath": "$.gone", "End": True}}}
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "N"}]
    execution = run(chain(P={"Type": "Parallel", "Branches": [branch], "Catch": catch}, N=PASS))
    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")


def test_retries_back_off_up_to_their_greatest_delay() -> None:
    async def script(rig: Rig) -> list[float]:
        retry = [
            {"ErrorEquals": ["Other"], "MaxAttempts": 9},
            {"ErrorEquals": ["Boom"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 20},
        ]
        execution = rig.start(failing(Retry=retry))
        await execution.ended.wait()
        assert execution.error == "Boom"
        assert events(execution).count("ParallelStateStarted") == 5
        return rig.time.slept

    assert play(script) == [2, 6, 18, 20]


def test_full_jitter_draws_the_delay() -> None:
    async def script(rig: Rig) -> list[float]:
        retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 8, "MaxAttempts": 1, "JitterStrategy": "FULL"}]
        await rig.start(failing(Retry=retry)).ended.wait()
        return rig.time.slept

    assert play(script) == [4]


def test_a_jsonata_catcher_reads_the_error_and_assigns() -> None:
    catch = [
        {"ErrorEquals": ["Boom"], "Next": "N", "Assign": {"e": "{% $states.errorOutput.Error %}"},
         "Output": "{% $states.errorOutput.Cause & $states.input.i %}"},
    ]  # fmt: skip
    definition = failing(QueryLanguage="JSONata", Catch=catch)
    definition["States"]["N"] = {**PASS, "Parameters": {"e.$": "$e", "o.$": "$"}, "End": True}
    assert output(definition, {"i": "!"}) == {"e": "Boom", "o": "why!"}


# ---- side by side


def wait(seconds: int) -> dict[str, Any]:
    return {"StartAt": f"W{seconds}", "States": {f"W{seconds}": {"Type": "Wait", "Seconds": seconds, "End": True}}}


def test_a_failing_branch_stops_the_others_at_once() -> None:
    async def script(rig: Rig) -> None:
        late = chain(L={"Type": "Wait", "Seconds": 5}, F=BOOM)
        definition = one("Parallel", Branches=[wait(1000), late])
        execution = rig.start(definition)
        await execution.ended.wait()
        assert (execution.status, execution.error) == ("FAILED", "Boom")
        assert rig.time.now - START == 5
        assert events(execution)[-3:] == ["WaitStateAborted", "ParallelStateFailed", "ExecutionFailed"]

    play(script)


def test_branches_and_iterations_keep_their_order() -> None:
    slow = chain(W={"Type": "Wait", "Seconds": 9}, R={**PASS, "Result": "slow"})
    fast = {"StartAt": "Q", "States": {"Q": {**PASS, "Result": "fast", "End": True}}}
    assert output(one("Parallel", Branches=[slow, fast])) == ["slow", "fast"]
    each = {"StartAt": "I", "States": {"I": {"Type": "Wait", "SecondsPath": "$", "End": True}}}
    assert output(one("Map", ItemProcessor=each), [3, 1, 2]) == [3, 1, 2]


def test_a_map_runs_as_many_items_at_once_as_it_may() -> None:
    async def script(rig: Rig) -> float:
        each = {"StartAt": "I", "States": {"I": {"Type": "Wait", "Seconds": 10, "End": True}}}
        await rig.start(one("Map", MaxConcurrency=2, ItemProcessor=each), [1, 2, 3, 4, 5]).ended.wait()
        return rig.time.now - START

    assert play(script) == 30


def test_a_failing_item_aborts_the_others() -> None:
    rule = {"Variable": "$", "NumericEquals": 2, "Next": "F"}
    each = {
        "StartAt": "C",
        "States": {
            "C": {"Type": "Choice", "Choices": [rule], "Default": "W"},
            "F": BOOM,
            "W": {"Type": "Wait", "Seconds": 50, "End": True},
        },
    }
    execution = run(one("Map", ItemProcessor=each), [1, 2, 3])
    kinds = events(execution)
    assert execution.error == "Boom"
    assert (kinds.count("MapIterationFailed"), kinds.count("MapIterationAborted")) == (1, 2)
    assert kinds[-2:] == ["MapStateFailed", "ExecutionFailed"]


@pytest.mark.parametrize(
    "definition",
    [
        one("Wait", Seconds=1000),
        one("Parallel", Branches=[wait(1000), wait(2000)]),
        one("Map", ItemsPath="$.l", ItemProcessor=wait(1000)),
        one(
            "Parallel", Branches=[{"StartAt": "B", "States": {"B": one("Parallel", Branches=[wait(9)])["States"]["A"]}}]
        ),
    ],
)
def test_a_stopped_execution_is_aborted_at_once_and_goes_no_further(definition: dict[str, Any]) -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(definition, {"l": [1, 2]})
        while not any(kind == "WaitStateEntered" for kind in events(execution)):
            await rig.time.sleep(0)
        await rig.engine.stop(execution, "Enough", "by hand")
        assert (execution.status, execution.error, execution.cause) == ("ABORTED", "Enough", "by hand")
        seen = len(execution.history.events)
        await rig.time.sleep(5000)
        assert len(execution.history.events) == seen
        assert events(execution)[-1] == "ExecutionAborted"

    play(script)


def test_an_execution_that_is_stopped_before_its_first_step_has_ended() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(one("Wait", Seconds=60))
        await rig.engine.stop(execution, None, "at once")
        assert (execution.status, execution.cause) == ("ABORTED", "at once")
        assert events(execution) == ["ExecutionStarted", "ExecutionAborted"]

    play(script)


def test_the_time_out_of_a_machine_ends_everything_inside() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start({**one("Parallel", Branches=[wait(1000), wait(2000)]), "TimeoutSeconds": 30})
        await execution.ended.wait()
        assert (execution.status, rig.time.now - START) == ("TIMED_OUT", 30)
        assert events(execution)[-1] == "ExecutionTimedOut"

    play(script)


def test_an_express_execution_ends_after_five_minutes() -> None:
    execution = run(one("Wait", Seconds=1000), kind="EXPRESS")
    assert execution.status == "TIMED_OUT"


def test_a_machine_that_runs_for_ever_ends_at_the_limit_of_its_history() -> None:
    execution = run({"StartAt": "A", "States": {"A": {**PASS, "Next": "B"}, "B": {**PASS, "Next": "A"}}})
    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")
    assert len(execution.history.events) == 25_000


def test_an_output_that_is_too_large_ends_the_execution() -> None:
    execution = run(one(Parameters={"a.$": "States.Array($, $)"}), "x" * 140_000)
    assert (execution.status, execution.error) == ("FAILED", "States.DataLimitExceeded")


def test_old_executions_are_forgotten_and_running_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ENDED_KEPT_MAX", 5)
    monkeypatch.setattr(engine, "FORGET_EVERY", 10)

    async def script(rig: Rig) -> None:
        activity = rig.engine.activities.create(f"{PREFIX}activity:a", "a", START, {})
        waiting = rig.start(one("Task", Resource=activity.arn))
        revision = rig.machine(one()).revision
        for number in range(40):
            await rig.engine.start(revision, f"n{number}", "{}").ended.wait()
        names = [each.name for each in rig.engine.all()]
        assert waiting.name in names
        assert "n39" in names
        assert len(names) <= 5 + 10 + 1
        assert rig.engine.find(waiting.arn) is waiting

    play(script)
