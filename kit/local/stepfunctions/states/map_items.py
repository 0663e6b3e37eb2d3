"""Read the items of a distributed Map from S3, and group them into batches."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from kit.local.stepfunctions.definition.maps import DELIMITERS, GET_OBJECT
from kit.local.stepfunctions.errors import ITEM_READER_FAILED, StateFailed, runtime_error
from kit.local.stepfunctions.language.json_values import as_integer, dump, parse_json, size_bytes
from kit.local.stepfunctions.language.scopes import Scope
from kit.local.stepfunctions.language.state_machine import State
from kit.local.stepfunctions.states.data_flow import read_path
from kit.local.stepfunctions.tasks.sdk_calls import CallFailed, SdkCalls

OBJECTS_MAX = 100_000


async def read_items(state: State, scope: Scope, calls: SdkCalls) -> list[Any]:
    """Return what the ItemReader of a state reads. Raises StateFailed."""
    reader = state.fields["ItemReader"]
    config = reader.get("ReaderConfig") or {}
    if state.is_jsonata:
        where = scope.evaluate(reader.get("Arguments", {}), "ItemReader/Arguments")
    else:
        where = scope.fill(reader.get("Parameters", {}))
    most = limit(state, config, scope, "MaxItems", "ItemReader/ReaderConfig")
    try:
        if reader["Resource"] == GET_OBJECT:
            answer = await calls.call("s3", "GetObject", where)
            items = parse_items(answer.output["Body"], config)
        else:
            items = await _objects(where, calls)
    except CallFailed as failed:
        raise StateFailed(ITEM_READER_FAILED, str(failed)) from failed
    return items if most is None else items[:most]


async def _objects(where: Mapping[str, Any], calls: SdkCalls) -> list[Any]:
    found: list[Any] = []
    token: dict[str, Any] = {}
    while len(found) < OBJECTS_MAX:
        output = (await calls.call("s3", "ListObjectsV2", {**where, **token})).output
        found += [_object(each) for each in output.get("Contents") or ()]
        if not output.get("NextContinuationToken"):
            return found
        token = {"ContinuationToken": output["NextContinuationToken"]}
    raise StateFailed(ITEM_READER_FAILED, f"The bucket has more than {OBJECTS_MAX} objects, which is not served here")


def _object(listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as an item: S3's ETag is called Etag, and times are in seconds."""
    names = {"ETag": "Etag"}
    shown = {
        names.get(name, name): value
        for name, value in listed.items()
        if name not in ("ChecksumAlgorithm", "ChecksumType")
    }
    if isinstance(shown.get("LastModified"), int):
        shown["LastModified"] //= 1000
    return shown


def parse_items(text: str, config: Mapping[str, Any]) -> list[Any]:
    """Return the items of a file. Raises StateFailed."""
    kind = config.get("InputType")
    if kind == "CSV":
        return list(_csv_items(text, config))
    try:
        if kind == "JSONL":
            return [parse_json(line) for line in text.splitlines() if line.strip()]
        items = parse_json(text)
    except ValueError as error:
        raise StateFailed(ITEM_READER_FAILED, f"The file is not {kind}: {error}") from error
    if not isinstance(items, list):
        raise StateFailed(ITEM_READER_FAILED, "Attempting to map over non-iterable node.")
    return items


def _csv_items(text: str, config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    delimiter = DELIMITERS[config.get("CSVDelimiter", "COMMA")]
    rows = [row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=delimiter) if row]
    headers = config["CSVHeaders"] if config.get("CSVHeaderLocation") == "GIVEN" else rows.pop(0) if rows else []
    for row in rows:
        # Missing columns are empty, and those without a header are left out.
        yield {name: row[at] if at < len(row) else "" for at, name in enumerate(headers)}


def limit(state: State, fields: Mapping[str, Any], scope: Scope, name: str, location: str) -> int | None:
    """Return a limit of a reader or a batcher; None, and 0, mean that there is none. Raises StateFailed."""
    by_path = f"{name}Path"
    if by_path in fields:
        value = read_path(fields, scope, by_path)
    elif name in fields and state.is_jsonata:
        value = scope.evaluate_as(fields[name], f"{location}/{name}", ("number",))
    else:
        value = fields.get(name)
    if value is None:
        return None
    number = as_integer(value)
    if number is None or number < 0:
        path = f": {fields[by_path]}" if by_path in fields else ""
        text = f"The {by_path if path else name} field refers to value {dump(value)} which is not a valid integer{path}"
        raise StateFailed(ITEM_READER_FAILED, text)
    return number or None


def batches(state: State, items: list[Any], scope: Scope) -> list[Any]:
    """Return the inputs of the child executions: the items, or batches of them. Raises StateFailed."""
    batcher = state.fields.get("ItemBatcher")
    if batcher is None:
        return items
    count = limit(state, batcher, scope, "MaxItemsPerBatch", "ItemBatcher")
    size = limit(state, batcher, scope, "MaxInputBytesPerBatch", "ItemBatcher")
    shared: dict[str, Any] = {}
    if "BatchInput" in batcher:
        given = batcher["BatchInput"]
        filled = scope.evaluate(given, "ItemBatcher/BatchInput") if state.is_jsonata else scope.fill(given)
        shared = {"BatchInput": filled}
    return [
        {**shared, "Items": group}
        for group in group_items(items, count, size, size_bytes(dump({**shared, "Items": []})))
    ]


def group_items(items: list[Any], count: int | None, size: int | None, overhead_bytes: int) -> Iterator[list[Any]]:
    """Yield groups of at most `count` items whose input has at most `size` bytes."""
    group: list[Any] = []
    bytes_used = overhead_bytes
    for item in items:
        item_bytes = size_bytes(dump(item)) + 1
        is_full = (count is not None and len(group) >= count) or (size is not None and bytes_used + item_bytes > size)
        if group and is_full:
            yield group
            group, bytes_used = [], overhead_bytes
        if size is not None and overhead_bytes + item_bytes > size:
            raise runtime_error(f"An item of {item_bytes} bytes does not fit into MaxInputBytesPerBatch {size}")
        group.append(item)
        bytes_used += item_bytes
    if group:
        yield group
