"""Parse and validate a document's text.

A parsed runbook refers only to parameters, steps and outputs that it declares, and only to actions that the local AWS
runs. Everything else raises InvalidDocumentContent.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from kit.local.ssm import branch_choices, jsonpath, references
from kit.local.ssm.errors import InvalidDocumentContent, InvalidDocumentSchemaVersion
from kit.local.ssm.parameters import WrongType, as_type, plain_type
from kit.local.ssm.runbook import (
    ABORT,
    ACTIONS,
    ASSERT_PROPERTY,
    BRANCH,
    CALLING,
    CONTINUE,
    EXECUTE_AWS_API,
    JUMP,
    PAYLOAD,
    SLEEP,
    WAIT_FOR_PROPERTY,
    Output,
    Parameter,
    Runbook,
    Step,
)
from kit.local.ssm.sleep_durations import DurationInvalid, parse_duration_s

SCHEMA_VERSION = "0.3"
CONTENT_BYTES_MAX = 64 * 1024
STEPS_MAX = 100
ATTEMPTS_MAX = 10
TIMEOUT_S_MAX = 7 * 86_400
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
TOP_KEYS = frozenset({"schemaVersion", "description", "assumeRole", "parameters", "mainSteps", "outputs"})
PARAMETER_KEYS = frozenset(
    {"type", "description", "default", "allowedValues", "allowedPattern", "displayType", "minItems", "maxItems"}
    | {"minChars", "maxChars"}
)
STEP_KEYS = frozenset(
    {"name", "action", "description", "inputs", "outputs", "onFailure", "onCancel", "nextStep", "isEnd"}
    | {"isCritical", "maxAttempts", "timeoutSeconds"}
)

Raw = Mapping[str, Any]


def parse_text(content: str, document_format: str) -> Runbook:
    """Parse a text in JSON or YAML."""
    size = len(content.encode())
    if size > CONTENT_BYTES_MAX:
        raise InvalidDocumentContent(f"the content has {size} bytes, more than {CONTENT_BYTES_MAX}")
    try:
        raw = yaml.safe_load(content) if document_format == "YAML" else json.loads(content)
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidDocumentContent(f"the content is not {document_format}: {error}") from error
    if not isinstance(raw, dict):
        raise InvalidDocumentContent("the content must be an object")
    return parse(_without_dates(raw))


def parse(raw: Raw) -> Runbook:
    """Validate parsed content."""
    if str(raw.get("schemaVersion")) != SCHEMA_VERSION:
        raise InvalidDocumentSchemaVersion(
            f"schemaVersion {raw.get('schemaVersion')!r}: the local AWS runs automation documents, {SCHEMA_VERSION!r}"
        )
    _check_keys("the document", raw, TOP_KEYS)
    for text in references.malformed_in(dict(raw)):
        raise InvalidDocumentContent(f"{text[:120]!r} holds a malformed {{{{ reference }}}}")
    steps = tuple(_step(item) for item in _items(raw, "mainSteps"))
    if not 1 <= len(steps) <= STEPS_MAX:
        raise InvalidDocumentContent(f"mainSteps has {len(steps)} steps; 1 to {STEPS_MAX} are allowed")
    runbook = Runbook(
        parameters={name: _parameter(name, item) for name, item in _object(raw, "parameters").items()},
        steps=steps,
        outputs=tuple(str(item) for item in raw.get("outputs") or ()),
        description=str(raw.get("description") or ""),
        raw=raw,
    )
    _check_jumps(runbook)
    _check_references(runbook)
    return runbook


def _parameter(name: str, raw: Any) -> Parameter:
    where = f"parameter {name}"
    if not isinstance(raw, dict) or plain_type(str(raw.get("type"))) is None:
        raise InvalidDocumentContent(f"{where} must have a type such as String, StringList, Integer or Boolean")
    _check_keys(where, raw, PARAMETER_KEYS)
    default = raw.get("default")
    try:
        return Parameter(
            name=name,
            type=raw["type"],
            default=None if default is None else as_type(raw["type"], default),
            description=str(raw.get("description") or ""),
            allowed_values=tuple(raw.get("allowedValues") or ()),
            allowed_pattern=_pattern(where, raw.get("allowedPattern") or ""),
        )
    except WrongType as error:
        raise InvalidDocumentContent(f"{where}: default {error}") from error


def _step(raw: Any) -> Step:
    if not isinstance(raw, dict) or not NAME.fullmatch(str(raw.get("name"))):
        raise InvalidDocumentContent("every step must be an object with a name of letters, digits, _ and -")
    where = f"step {raw['name']}"
    _check_keys(where, raw, STEP_KEYS)
    action = raw.get("action")
    if action not in ACTIONS:
        raise InvalidDocumentContent(
            f"{where}: action {action!r} is not supported by the local AWS; supported are {', '.join(sorted(ACTIONS))}"
        )
    if raw.get("outputs") and action != EXECUTE_AWS_API:
        raise InvalidDocumentContent(f"{where}: {action} has no outputs")
    timeout, on_failure = raw.get("timeoutSeconds"), _jump(where, raw, "onFailure", (ABORT, CONTINUE))
    step = Step(
        name=raw["name"],
        action=action,
        inputs=_object(raw, "inputs"),
        outputs=tuple(_output(where, item) for item in _items(raw, "outputs")),
        on_failure=on_failure,
        on_cancel=_jump(where, raw, "onCancel", (ABORT,)),
        next_step=str(raw.get("nextStep") or ""),
        is_end=_boolean(where, raw, "isEnd", False),
        # As on AWS: with onFailure Continue a failure does not count, unless isCritical is true.
        is_critical=_boolean(where, raw, "isCritical", on_failure != CONTINUE),
        attempts_max=_integer(where, "maxAttempts", raw.get("maxAttempts", 1), ATTEMPTS_MAX),
        timeout_s=None if timeout is None else float(_integer(where, "timeoutSeconds", timeout, TIMEOUT_S_MAX)),
    )
    _check_inputs(where, step)
    return step


def _check_inputs(where: str, step: Step) -> None:
    inputs = step.inputs
    if step.action in CALLING and not all(inputs.get(key) for key in ("Service", "Api")):
        raise InvalidDocumentContent(f"{where}: {step.action} needs Service and Api")
    if step.action in (WAIT_FOR_PROPERTY, ASSERT_PROPERTY):
        _check_selector(where, inputs.get("PropertySelector"))
        if not isinstance(inputs.get("DesiredValues"), list) or not inputs["DesiredValues"]:
            raise InvalidDocumentContent(f"{where}: DesiredValues must be a list of values")
    if step.action == BRANCH and (problem := branch_choices.find_problem(inputs)):
        raise InvalidDocumentContent(f"{where}: {problem}")
    if step.action == SLEEP:
        if len(set(inputs) & {"Duration", "Timestamp"}) != 1:
            raise InvalidDocumentContent(f"{where}: aws:sleep needs either Duration or Timestamp")
        duration = str(inputs.get("Duration", "{{"))
        if "{{" not in duration:
            try:
                parse_duration_s(duration)
            except DurationInvalid as error:
                raise InvalidDocumentContent(f"{where}: {error}") from error


def _output(where: str, raw: Any) -> Output:
    if not isinstance(raw, dict) or not NAME.fullmatch(str(raw.get("Name"))):
        raise InvalidDocumentContent(f"{where}: an output must be an object with Name, Selector and Type")
    kind = str(raw.get("Type", "String"))
    if plain_type(kind) is None:
        raise InvalidDocumentContent(f"{where}: output {raw['Name']} has the unknown type {kind}")
    _check_selector(where, raw.get("Selector"))
    return Output(name=raw["Name"], selector=raw["Selector"], type=kind)


def _check_selector(where: str, selector: Any) -> None:
    try:
        jsonpath.parse(str(selector))
    except jsonpath.SelectorInvalid as error:
        raise InvalidDocumentContent(f"{where}: {error}") from error


def _check_jumps(runbook: Runbook) -> None:
    names = [step.name for step in runbook.steps]
    if len(set(names)) != len(names):
        raise InvalidDocumentContent("two steps have the same name")
    for step in runbook.steps:
        for target in (step.next_step, step.failure_step, step.cancel_step, *step.branches()):
            if target and target not in names:
                raise InvalidDocumentContent(f"step {step.name} leads to {target!r}, which does not exist")


def _check_references(runbook: Runbook) -> None:
    outputs = {f"{step.name}.{output.name}" for step in runbook.steps for output in step.outputs}
    outputs |= {f"{step.name}.{PAYLOAD}" for step in runbook.steps if step.action == EXECUTE_AWS_API}
    known = outputs | set(runbook.parameters) | set(references.GLOBALS)
    for name in references.names_in({key: value for key, value in runbook.raw.items() if key != "description"}):
        if name not in known:
            raise InvalidDocumentContent(
                f"{{{{ {name} }}}} is not a parameter, an output of a step or a global variable"
            )
    for name in runbook.outputs:
        if name not in outputs:
            raise InvalidDocumentContent(f"outputs: {name} is not an output of a step")


def _jump(where: str, raw: Raw, key: str, words: tuple[str, ...]) -> str:
    value = str(raw.get(key, ABORT))
    if value.startswith(JUMP):
        return JUMP + value.removeprefix(JUMP).strip()
    for word in words:
        if value.lower() == word.lower():
            return word
    raise InvalidDocumentContent(f"{where}: {key} {value!r} must be {', '.join(words)} or step:NAME")


def _boolean(where: str, raw: Raw, key: str, default: bool) -> bool:
    try:
        return as_type("Boolean", raw.get(key, default))
    except WrongType as error:
        raise InvalidDocumentContent(f"{where}: {key} {error}") from error


def _integer(where: str, key: str, value: Any, limit: int) -> int:
    try:
        number = as_type("Integer", value)
    except WrongType as error:
        raise InvalidDocumentContent(f"{where}: {key} {error}") from error
    if not 1 <= number <= limit:
        raise InvalidDocumentContent(f"{where}: {key} {number} must be within 1 and {limit}")
    return number


def _pattern(where: str, text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise InvalidDocumentContent(f"{where}: allowedPattern {text!r}: {error}") from error
    return text


def _check_keys(where: str, raw: Raw, keys: frozenset[str]) -> None:
    unknown = sorted(set(raw) - keys)
    if unknown:
        raise InvalidDocumentContent(f"{where} has {unknown[0]!r}, which is unknown to the local AWS")


def _object(raw: Raw, key: str) -> dict[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidDocumentContent(f"{key} must be an object")
    return value


def _items(raw: Raw, key: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, list):
        raise InvalidDocumentContent(f"{key} must be a list")
    return value


def _without_dates(value: Any) -> Any:
    """Turn dates back into text. YAML parses an unquoted timestamp as a date, but the document means the text."""
    if isinstance(value, dict):
        return {str(key): _without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
