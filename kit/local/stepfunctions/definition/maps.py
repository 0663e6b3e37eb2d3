"""Check what only Map states have: the processor, and the reader, batcher and writer of a distributed one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.local.stepfunctions.definition.problems import Problem, bounded, schema, unsupported
from kit.local.stepfunctions.definition.queries import expressions, path_problems, template
from kit.local.stepfunctions.language.jsonata_queries import is_query
from kit.local.stepfunctions.language.state_machine import DISTRIBUTED, INLINE

GET_OBJECT, LIST_OBJECTS = "arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2"
PUT_OBJECT = "arn:aws:states:::s3:putObject"
INPUT_TYPES = ("CSV", "JSON", "JSONL")
DELIMITERS: Mapping[str, str] = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}
TRANSFORMATIONS = ("NONE", "COMPACT", "FLATTEN")
OUTPUT_TYPES = ("JSON", "JSONL")
MAX_ITEMS_MAX = 100_000_000
BATCH_BYTES_MAX = 256 * 1024
_LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"\u0000-\u001f\u007f-\u009f]{1,40}")
DISTRIBUTED_ONLY = ("ItemReader", "ItemBatcher", "ResultWriter", "Label")


def problems(state: Mapping[str, Any], path: str, *, is_jsonata: bool, is_express: bool) -> Iterator[Problem]:
    """Yield what is wrong with a Map state, but for the states inside of it."""
    name = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
    processor = state.get(name)
    if processor is None:
        yield schema("These fields are required: [ItemProcessor]", path)
        return
    if not isinstance(processor, dict):
        return
    config = processor.get("ProcessorConfig", {})
    if not isinstance(config, dict):
        yield schema("ProcessorConfig must be an object", f"{path}/{name}/ProcessorConfig")
        return
    yield from _config(config, f"{path}/{name}/ProcessorConfig", is_express=is_express)
    if config.get("Mode", INLINE) == INLINE:
        for field in DISTRIBUTED_ONLY:
            if field in state:
                yield schema(f"Field '{field}' is supported in {DISTRIBUTED} mode only", f"{path}/{field}")
        return
    for field, check in (("ItemReader", _reader), ("ItemBatcher", _batcher), ("ResultWriter", _writer)):
        if field in state:
            if isinstance(state[field], dict):
                yield from check(state[field], f"{path}/{field}", is_jsonata=is_jsonata)
            else:
                yield schema(f"{field} must be an object", f"{path}/{field}")
    if "Label" in state and not _LABEL.fullmatch(str(state["Label"])):
        yield schema("Label has 1 to 40 characters, without spaces, brackets, wildcards and signs", f"{path}/Label")


def _config(config: Mapping[str, Any], path: str, *, is_express: bool) -> Iterator[Problem]:
    yield from unsupported(config, ("Mode", "ExecutionType"), path)
    mode = config.get("Mode", INLINE)
    if mode not in (INLINE, DISTRIBUTED):
        yield schema(f"Mode must be {INLINE} or {DISTRIBUTED}, not {mode!r}", f"{path}/Mode")
    elif mode == DISTRIBUTED and config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield schema("ExecutionType must be STANDARD or EXPRESS", f"{path}/ExecutionType")
    elif mode == INLINE and "ExecutionType" in config:
        yield schema(f"Field 'ExecutionType' is supported in {DISTRIBUTED} mode only", f"{path}/ExecutionType")
    if mode == DISTRIBUTED and is_express:
        yield schema("Express state machine does not support a Map in DISTRIBUTED mode", path)


def _parameters(given: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    if is_jsonata:
        yield from expressions(given.get("Arguments"), f"{path}/Arguments")
    else:
        yield from template(given.get("Parameters"), f"{path}/Parameters")


def _number(given: Mapping[str, Any], name: str, most: int, path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    if f"{name}Path" in given:
        if is_jsonata:
            yield schema(f"The QueryLanguage 'JSONata' does not support the field '{name}Path'", path)
        elif name in given:
            yield schema(f"Only one of these fields is allowed: [{name}, {name}Path]", path)
        else:
            yield from path_problems(f"{name}Path", given[f"{name}Path"], path)
    if name in given and not (is_jsonata and is_query(given[name])):
        yield from bounded(name, given[name], (0, most), path)


def _reader(reader: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    own = "Arguments" if is_jsonata else "Parameters"
    yield from unsupported(reader, ("Resource", "ReaderConfig", own), path)
    yield from _parameters(reader, path, is_jsonata=is_jsonata)
    if reader.get("Resource") not in (GET_OBJECT, LIST_OBJECTS):
        yield schema(f"Resource must be {GET_OBJECT} or {LIST_OBJECTS}", f"{path}/Resource")
    config, at = reader.get("ReaderConfig", {}), f"{path}/ReaderConfig"
    if not isinstance(config, dict):
        yield schema("ReaderConfig must be an object", at)
        return
    known = ("InputType", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter", "MaxItems", "MaxItemsPath")
    for name in config:
        if name not in known:
            yield schema(f"Field '{name}' is not served here", f"{at}/{name}")
    yield from _number(config, "MaxItems", MAX_ITEMS_MAX, at, is_jsonata=is_jsonata)
    if reader.get("Resource") != GET_OBJECT:
        return
    kind = config.get("InputType")
    if kind not in INPUT_TYPES:
        yield schema(f"InputType must be one of {', '.join(INPUT_TYPES)} here, not {kind!r}", f"{at}/InputType")
    if kind == "CSV":
        yield from _csv(config, at)


def _csv(config: Mapping[str, Any], path: str) -> Iterator[Problem]:
    where, headers = config.get("CSVHeaderLocation"), config.get("CSVHeaders")
    if where not in ("FIRST_ROW", "GIVEN"):
        yield schema("CSVHeaderLocation must be FIRST_ROW or GIVEN", f"{path}/CSVHeaderLocation")
    is_list = isinstance(headers, list) and all(isinstance(each, str) for each in headers) and bool(headers)
    if where == "GIVEN" and not is_list:
        yield schema("CSVHeaders must be an array of names", f"{path}/CSVHeaders")
    if config.get("CSVDelimiter", "COMMA") not in DELIMITERS:
        yield schema(f"CSVDelimiter must be one of {', '.join(DELIMITERS)}", f"{path}/CSVDelimiter")


def _batcher(batcher: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    known = ("MaxItemsPerBatch", "MaxItemsPerBatchPath", "MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath")
    yield from unsupported(batcher, (*known, "BatchInput"), path)
    if not set(known) & set(batcher):
        yield schema("One of these fields is required: [MaxItemsPerBatch, MaxInputBytesPerBatch]", path)
    yield from _number(batcher, "MaxItemsPerBatch", MAX_ITEMS_MAX, path, is_jsonata=is_jsonata)
    yield from _number(batcher, "MaxInputBytesPerBatch", BATCH_BYTES_MAX, path, is_jsonata=is_jsonata)
    check = expressions if is_jsonata else template
    yield from check(batcher.get("BatchInput"), f"{path}/BatchInput")


def _writer(writer: Mapping[str, Any], path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    own = "Arguments" if is_jsonata else "Parameters"
    yield from unsupported(writer, ("Resource", "WriterConfig", own), path)
    yield from _parameters(writer, path, is_jsonata=is_jsonata)
    if "Resource" in writer and writer["Resource"] != PUT_OBJECT:
        yield schema(f"Resource must be {PUT_OBJECT}", f"{path}/Resource")
    if "Resource" not in writer and "WriterConfig" not in writer:
        yield schema("One of these fields is required: [Resource, WriterConfig]", path)
    config, at = writer.get("WriterConfig", {}), f"{path}/WriterConfig"
    if not isinstance(config, dict):
        yield schema("WriterConfig must be an object", at)
        return
    yield from unsupported(config, ("Transformation", "OutputType"), at)
    if config.get("Transformation", "NONE") not in TRANSFORMATIONS:
        yield schema(f"Transformation must be one of {', '.join(TRANSFORMATIONS)}", f"{at}/Transformation")
    if config.get("OutputType", "JSON") not in OUTPUT_TYPES:
        yield schema(f"OutputType must be one of {', '.join(OUTPUT_TYPES)}", f"{at}/OutputType")
