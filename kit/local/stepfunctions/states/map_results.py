"""Make the result of a distributed Map from its child executions, and write it to S3 where the state asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.local.stepfunctions.errors import RESULT_WRITER_FAILED, StateFailed
from kit.local.stepfunctions.language.json_values import dump, size_bytes
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.states.map_run import SUCCEEDED, Child, MapRun
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed, SdkCalls

NONE, COMPACT, FLATTEN = "NONE", "COMPACT", "FLATTEN"


async def write_results(run: MapRun, scope: Scope, calls: SdkCalls) -> Any:
    """Return the result of the state. Raises StateFailed when S3 refuses it."""
    writer = run.state.fields.get("ResultWriter")
    children = [run.children[index] for index in sorted(run.children)]
    if writer is None:
        return [_outcome(child) for child in children]
    config = writer.get("WriterConfig") or {}
    if "Resource" not in writer:
        return transformed(children, config.get("Transformation", NONE))
    if run.state.is_jsonata:
        where = scope.evaluate(writer.get("Arguments", {}), "ResultWriter/Arguments")
    else:
        where = scope.fill(writer.get("Parameters", {}))
    try:
        return await _write(run, children, config, where, calls)
    except CallFailed as failed:
        raise StateFailed(RESULT_WRITER_FAILED, str(failed)) from failed


def _outcome(child: Child) -> Any:
    return child.output if child.status == SUCCEEDED else {"Error": child.error, "Cause": child.cause}


def transformed(children: list[Child], transformation: str) -> list[Any]:
    """Return the outputs with their executions (NONE), alone (COMPACT), or as one flat list (FLATTEN)."""
    if transformation == NONE:
        return [child.report() for child in children]
    outputs = [_outcome(child) for child in children]
    if transformation == COMPACT:
        return outputs
    return [item for output in outputs for item in (output if isinstance(output, list) else [output])]


async def _write(
    run: MapRun, children: list[Child], config: Mapping[str, Any], where: Mapping[str, Any], calls: SdkCalls
) -> dict[str, Any]:
    bucket, kind = where.get("Bucket"), config.get("OutputType", "JSON")
    if not isinstance(bucket, str):
        raise StateFailed(RESULT_WRITER_FAILED, f"The Bucket of ResultWriter must be a string, not {dump(bucket)}")
    prefix = str(where.get("Prefix", "")).strip("/")
    folder = f"{prefix}/{run.arn.rpartition(':')[2]}".lstrip("/")
    groups = {"FAILED": [each for each in children if each.status != SUCCEEDED], "PENDING": [], SUCCEEDED: [
        each for each in children if each.status == SUCCEEDED
    ]}  # fmt: skip
    files: dict[str, list[dict[str, Any]]] = {name: [] for name in groups}
    for name, group in groups.items():
        if group:
            rows = transformed(group, config.get("Transformation", NONE))
            body = "\n".join(map(dump, rows)) if kind == "JSONL" else dump(rows)
            key = f"{folder}/{name}_0.{kind.lower()}"
            await calls.call("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body})
            files[name].append({"Key": key, "Size": size_bytes(body)})
    manifest = {"DestinationBucket": bucket, "MapRunArn": run.arn, "ResultFiles": files}
    key = f"{folder}/manifest.json"
    await calls.call("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": dump(manifest)})
    run.results_written = len(children)
    return {"MapRunArn": run.arn, "ResultWriterDetails": {"Bucket": bucket, "Key": key}}
