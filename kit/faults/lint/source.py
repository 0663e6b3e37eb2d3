"""Read the FIS templates of a file: a CreateExperimentTemplate request, or resources of a CloudFormation template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kit.errors import UsageError
from kit.fis_rules.problems import UNKNOWN, Unknown

FILE_BYTES_MAX = 4 * 1024 * 1024
EXPERIMENT_TYPE = "AWS::FIS::ExperimentTemplate"
TASK_DEFINITION_TYPE = "AWS::ECS::TaskDefinition"
FUNCTION_TYPES = ("AWS::Lambda::Function", "AWS::Serverless::Function")
# Members of a CreateExperimentTemplate request that are no part of the template.
REQUEST_ONLY = {"clientToken"}
# Members of a GetExperimentTemplate answer that are no part of the template.
ANSWER_ONLY = {"id", "arn", "creationTime", "lastUpdateTime", "targetAccountConfigurationsCount"}
REQUEST_MEMBERS = {"actions", "stopConditions", "targets", "roleArn", "experimentOptions"}
# A document with fewer of these members may be in another format: many formats have "actions".
REQUEST_MEMBERS_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One FIS template as it stands in a file, with the task definitions and Lambda functions of the same file.

    `name` is its logical id in CloudFormation, and empty for a request.
    """

    name: str
    body: Any
    is_cloudformation: bool
    task_definitions: Mapping[str, Any]
    functions: Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """Load YAML. Tags such as !Ref and !Sub become UNKNOWN, and dates stay text (`Version: 2012-10-17`)."""


def _unknown(_loader: yaml.SafeLoader, _suffix: str, _node: yaml.Node) -> Unknown:
    return UNKNOWN


def _as_text(_loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_multi_constructor("!", _unknown)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def read_templates(path: Path) -> list[Source]:
    """Read all FIS templates of a file. Raises UsageError when there is none."""
    try:
        found = [source for document in _documents(path) for source in _sources(document)]
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply to be a template") from error
    if not found:
        raise UsageError(
            f"{path} holds no FIS template: neither a CreateExperimentTemplate request nor a {EXPERIMENT_TYPE}"
        )
    return found


def _documents(path: Path) -> list[Any]:
    text = _text(path)
    try:
        return [json.loads(text)]
    except ValueError:
        return _yaml_documents(path, text)


def _yaml_documents(path: Path, text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError) as error:
        first = " ".join(str(error).split())
        raise UsageError(f"{path} is neither JSON nor YAML: {first}") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise UsageError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is neither JSON nor YAML: it is not UTF-8 text") from error


def _sources(document: Any) -> list[Source]:
    if not isinstance(document, Mapping):
        return []
    if isinstance(document.get("Resources"), Mapping):
        return _resources(document["Resources"])
    answer = document.get("experimentTemplate")
    body, extra = (answer, ANSWER_ONLY) if isinstance(answer, Mapping) else (document, REQUEST_ONLY)
    if len(REQUEST_MEMBERS & set(body)) < REQUEST_MEMBERS_MIN:
        return []
    own = {name: value for name, value in body.items() if name not in extra}
    return [Source(name="", body=own, is_cloudformation=False, task_definitions={}, functions={})]


def _resources(resources: Mapping[Any, Any]) -> list[Source]:
    definitions = _of_type(resources, TASK_DEFINITION_TYPE)
    functions = {name: body for kind in FUNCTION_TYPES for name, body in _of_type(resources, kind).items()}
    return [
        Source(name=name, body=body, is_cloudformation=True, task_definitions=definitions, functions=functions)
        for name, body in _of_type(resources, EXPERIMENT_TYPE).items()
    ]


def _of_type(resources: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    return {
        str(name): _intrinsics_replaced(resource.get("Properties"), {})
        for name, resource in resources.items()
        if isinstance(resource, Mapping) and resource.get("Type") == kind
    }


def _intrinsics_replaced(value: Any, done: dict[int, Any]) -> Any:
    """Replace intrinsic functions of CloudFormation, {"Ref": …} and {"Fn::…": …}, by UNKNOWN.

    `done` holds converted values by id, so that a value that is shared by YAML aliases is converted once.
    """
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Mapping):
        if list(value) == ["Ref"] or any(str(key).startswith("Fn::") for key in value):
            return UNKNOWN
        done[id(value)] = {key: _intrinsics_replaced(item, done) for key, item in value.items()}
    elif isinstance(value, list):
        done[id(value)] = [_intrinsics_replaced(item, done) for item in value]
    else:
        return value
    return done[id(value)]


def texts(value: Any) -> Iterable[str]:
    """Find every text inside a value. A value that is shared by YAML aliases is searched once."""
    todo, seen = [value], set()
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping | list) and id(each) not in seen:
            seen.add(id(each))
            todo += [*each, *each.values()] if isinstance(each, Mapping) else each
