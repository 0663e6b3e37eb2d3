"""Distributed Maps: readers, batches, tolerance of failures, results and what the API shows of a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kit.local.stepfunctions.api_call import Call
from kit.local.stepfunctions.operations_executions import describe_map_run, list_executions, list_map_runs
from kit.local.stepfunctions.states.map_items import group_items, parse_items
from kit.local.stepfunctions.states.map_run import Thresholds
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed
from tests.local.states_rig import Rig, events, one, play, run

READER = {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b", "Key": "k"}}
WRITER = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix": "out"}}
FIRST_ROW = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}
GIVEN = {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x", "y"]}
ECHO = {"I": {"Type": "Pass", "End": True}}
# Fails for the items above 1.
PICKY = {
    "C": {"Type": "Choice", "Choices": [{"Variable": "$", "NumericGreaterThan": 1, "Next": "F"}], "Default": "P"},
    "F": {"Type": "Fail", "Error": "Boom", "Cause": "why"},
    "P": {"Type": "Pass", "End": True},
}


def distributed(states: dict[str, Any] = ECHO, **fields: Any) -> dict[str, Any]:
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    inner = {"ProcessorConfig": config, "StartAt": next(iter(states)), "States": states}
    return one("Map", ItemProcessor=inner, **fields)


@pytest.mark.parametrize(
    ("text", "config", "items"),
    [
        ("[1, 2]", {"InputType": "JSON"}, [1, 2]),
        ('{"a": 1}\n\n{"a": 2}\n', {"InputType": "JSONL"}, [{"a": 1}, {"a": 2}]),
        ("h,i\n1,2\n3\n", FIRST_ROW, [{"h": "1", "i": "2"}, {"h": "3", "i": ""}]),
        ('"a;b";c;d\n', {**GIVEN, "CSVDelimiter": "SEMICOLON"}, [{"x": "a;b", "y": "c"}]),
        ("", FIRST_ROW, []),
    ],
)  # fmt: skip
def test_a_file_is_read_as_items(text: str, config: dict[str, Any], items: list[Any]) -> None:
    assert parse_items(text, config) == items


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ({"Body": "{}"}, "Attempting to map over non-iterable node."),
        ({"Body": "["}, "not JSON"),
        (CallFailed("NoSuchKey", "no such key", status=404), "no such key"),
    ],
)
def test_a_reader_that_fails_fails_the_run(answer: Any, cause: str) -> None:
    async def script(rig: Rig) -> None:
        reader = {**READER, "ReaderConfig": {"InputType": "JSON"}}
        execution = rig.start(distributed(ItemReader=reader))
        await execution.ended.wait()
        assert execution.error == "States.ItemReaderFailed"
        assert cause in str(execution.cause)
        assert events(execution)[-4:] == ["MapRunStarted", "MapRunFailed", "MapStateFailed", "ExecutionFailed"]
        assert [each.status for each in rig.engine.map_runs.of_execution(execution.arn)] == ["FAILED"]

    play(script, s3_GetObject=answer)


@pytest.mark.parametrize(("most", "items"), [(2, [1, 2]), (0, [1, 2, 3])])
def test_a_reader_reads_at_most_so_many_items(most: int, items: list[int]) -> None:
    reader = {**READER, "ReaderConfig": {"InputType": "JSON", "MaxItemsPath": "$.n"}}
    assert run(distributed(ItemReader=reader), {"n": most}, s3_GetObject={"Body": "[1,2,3]"}).output == items


def test_a_bucket_is_listed_page_by_page() -> None:
    def listed(parameters: Any) -> dict[str, Any]:
        if "ContinuationToken" in parameters:
            return {"Contents": [{"Key": "b", "ETag": "2"}]}
        return {"Contents": [{"Key": "a", "ETag": "1"}], "NextContinuationToken": "t"}

    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "b"}}
    execution = run(distributed(ItemReader=reader), s3_ListObjectsV2=listed)
    assert execution.output == [{"Key": "a", "Etag": "1"}, {"Key": "b", "Etag": "2"}]


def test_items_are_selected_and_batched() -> None:
    fields = {
        "ItemsPath": "$.l",
        "ItemSelector": {"n.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index"},
        "ItemBatcher": {"MaxItemsPerBatchPath": "$.size", "BatchInput": {"x.$": "$.x"}},
    }
    execution = run(distributed(**fields), {"l": [7, 8, 9], "size": 2, "x": 1})
    assert execution.output == [
        {"BatchInput": {"x": 1}, "Items": [{"n": 7, "at": 0}, {"n": 8, "at": 1}]},
        {"BatchInput": {"x": 1}, "Items": [{"n": 9, "at": 2}]},
    ]


def test_a_batch_has_at_most_so_many_bytes() -> None:
    assert list(group_items(["aaaa", "bbbb", "c"], None, 26, 12)) == [["aaaa", "bbbb"], ["c"]]
    assert list(group_items([], 2, None, 0)) == []


@pytest.mark.parametrize(
    ("thresholds", "failed", "is_exceeded"),
    [({}, 0, False), ({}, 1, True), ({"count": 1}, 1, False), ({"count": 1}, 2, True), ({"percentage": 50}, 5, False),
     ({"percentage": 50}, 6, True), ({"count": 9, "percentage": 10}, 2, True)],
)  # fmt: skip
def test_the_smaller_tolerance_counts(thresholds: dict[str, int], failed: int, is_exceeded: bool) -> None:
    assert Thresholds(**thresholds).exceeded(failed, 10) is is_exceeded


def test_too_many_failures_fail_the_map() -> None:
    execution = run(distributed(PICKY, ToleratedFailureCount=1), [1, 2, 3])
    assert execution.error == "States.ExceedToleratedFailureThreshold"
    assert "MapRunFailed" in events(execution)


def test_tolerated_failures_are_counted_and_shown() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(distributed(PICKY, ToleratedFailurePercentage=70), [1, 2, 3])
        await execution.ended.wait()
        assert execution.output[0] == 1
        assert execution.output[1] == {"Error": "Boom", "Cause": "why"}

        def call(**request: Any) -> Call:
            return Call(engine=rig.engine, request=request, account="000000000000", region="us-east-1")

        (listed,) = list_map_runs(call(executionArn=execution.arn))["mapRuns"]
        described = describe_map_run(call(mapRunArn=listed["mapRunArn"]))
        counts = described["itemCounts"]
        assert (described["status"], counts["succeeded"], counts["failed"], counts["total"]) == ("SUCCEEDED", 1, 2, 3)
        children = list_executions(call(mapRunArn=listed["mapRunArn"], statusFilter="FAILED"))["executions"]
        assert len(children) == 2

    play(script)


def test_results_are_written_to_s3() -> None:
    async def script(rig: Rig) -> None:
        execution = rig.start(distributed(PICKY, ToleratedFailureCount=1, ResultWriter=WRITER), [1, 2])
        await execution.ended.wait()
        written = {parameters["Key"]: json.loads(parameters["Body"]) for _, parameters in rig.calls.made}
        run_id = execution.output["MapRunArn"].rpartition(":")[2]
        key = execution.output["ResultWriterDetails"]["Key"]
        assert key == f"out/{run_id}/manifest.json"
        files = written[key]["ResultFiles"]
        assert written[files["SUCCEEDED"][0]["Key"]][0]["Output"] == "1"
        assert written[files["FAILED"][0]["Key"]][0]["Error"] == "Boom"
        assert files["PENDING"] == []

    play(script, s3_PutObject={})


@pytest.mark.parametrize(("transformation", "wanted"), [("COMPACT", [[1], [2]]), ("FLATTEN", [1, 2])])
def test_results_are_transformed(transformation: str, wanted: list[Any]) -> None:
    writer = {"WriterConfig": {"Transformation": transformation, "OutputType": "JSON"}}
    assert run(distributed(ResultWriter=writer), [[1], [2]]).output == wanted


def test_a_stopped_execution_stops_its_children() -> None:
    async def script(rig: Rig) -> None:
        waiting = {"W": {"Type": "Wait", "Seconds": 1000, "End": True}}
        execution = rig.start(distributed(waiting), [1, 2])
        while len(rig.engine.all()) < 3:
            await rig.time.sleep(0)
        await rig.engine.stop(execution, None, None)
        for child in rig.engine.all():
            await child.ended.wait()
        assert {each.status for each in rig.engine.all()} == {"ABORTED"}
        assert [each.status for each in rig.engine.map_runs.of_execution(execution.arn)] == ["ABORTED"]

    play(script)
