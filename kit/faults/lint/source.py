"""Read the FIS templates of a file: a CreateExperimentTemplate request, or resources of a CloudFormation template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import UnreadableFile, UsageError
from kit.faults.lint.sam_globals import with_globals
from kit.files import read_text
from kit.files.cloudformation_file import is_function, parse_cloudformation
from kit.fis_rules.problems import UNKNOWN

# CloudFormation reads templates of at most 1 MB.
FILE_BYTES_MAX = 1024 * 1024
VALUES_MAX = 20_000
JSON_SUFFIX = ".json"
TERRAFORM_SUFFIXES = (".tf", ".tfvars", ".hcl")
TERRAFORM_RESOURCE = re.compile(r'^\s*resource\s+"aws_\w+"\s+"', re.MULTILINE)
TERRAFORM_IS_NOT_READ = "Terraform is not read; lint the template that it creates, as the API returns it"
EXPERIMENT_TYPE = "AWS::FIS::ExperimentTemplate"
TASK_DEFINITION_TYPE = "AWS::ECS::TaskDefinition"
SERVERLESS_FUNCTION_TYPE = "AWS::Serverless::Function"
FUNCTION_TYPES = ("AWS::Lambda::Function", SERVERLESS_FUNCTION_TYPE)
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

    `name` is its logical id in CloudFormation, and empty for a request. `repeated`: (path of an object, name of a
    member) for members that the file gives more than once.
    """

    name: str
    body: Any
    is_cloudformation: bool
    task_definitions: Mapping[str, Any]
    functions: Mapping[str, Any]
    repeated: tuple[tuple[str, str], ...] = ()


def read_templates(path: Path) -> list[Source]:
    """Read all FIS templates of a file. Raises UsageError when there is none."""
    if path.suffix.lower() in TERRAFORM_SUFFIXES or path.name.lower().endswith(".tf.json"):
        raise UsageError(f"{path}: {TERRAFORM_IS_NOT_READ}")
    try:
        documents, repeated = _documents(path)
    except UnreadableFile as error:
        raise UsageError(f"{path}{str(error).removeprefix(path.name)}") from error
    found = [source for document in documents for source in _sources(document, tuple(repeated))]
    if not found:
        raise UsageError(
            f"{path} holds no FIS template: neither a CreateExperimentTemplate request nor a {EXPERIMENT_TYPE}"
        )
    return found


def _documents(path: Path) -> tuple[list[Any], list[tuple[str, str]]]:
    text = read_text(path, FILE_BYTES_MAX)
    if TERRAFORM_RESOURCE.search(text):
        raise UsageError(f"{path}: {TERRAFORM_IS_NOT_READ}")
    return parse_cloudformation(text, path.name, is_json=path.suffix.lower() == JSON_SUFFIX, values_max=VALUES_MAX)


def _sources(document: Any, repeated: tuple[tuple[str, str], ...]) -> list[Source]:
    if not isinstance(document, Mapping):
        return []
    if isinstance(document.get("Resources"), Mapping):
        return _resources(document, repeated)
    answer = document.get("experimentTemplate")
    body, extra = (answer, ANSWER_ONLY) if isinstance(answer, Mapping) else (document, REQUEST_ONLY)
    if len(REQUEST_MEMBERS & set(body)) < REQUEST_MEMBERS_MIN:
        return []
    own = {name: value for name, value in body.items() if name not in extra}
    return [Source(name="", body=own, is_cloudformation=False, task_definitions={}, functions={}, repeated=repeated)]


def _resources(document: Mapping[Any, Any], repeated: tuple[tuple[str, str], ...]) -> list[Source]:
    resources = document["Resources"]
    definitions = _of_type(resources, TASK_DEFINITION_TYPE)
    functions = {name: body for kind in FUNCTION_TYPES for name, body in _of_type(resources, kind).items()}
    functions |= with_globals(
        _intrinsics_replaced(document.get("Globals"), {}), _of_type(resources, SERVERLESS_FUNCTION_TYPE)
    )
    return [
        Source(
            name=name,
            body=body,
            is_cloudformation=True,
            task_definitions=definitions,
            functions=functions,
            repeated=tuple(one for one in repeated if _concerns(*one, resource=name)),
        )
        for name, body in _of_type(resources, EXPERIMENT_TYPE).items()
    ]


def _of_type(resources: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    return {
        str(name): _intrinsics_replaced(resource.get("Properties"), {})
        for name, resource in resources.items()
        if isinstance(resource, Mapping) and resource.get("Type") == kind
    }


def _intrinsics_replaced(value: Any, done: dict[int, Any]) -> Any:
    """Replace functions of CloudFormation, {"Ref": …} and {"Fn::…": …}, by UNKNOWN.

    `done` holds converted values by id, so that a value that is shared by YAML aliases is converted once.
    """
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Mapping):
        if is_function(value):
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


def _concerns(place: str, member: str, *, resource: str) -> bool:
    """Return whether a repeated member lies in the resource, or is the resource itself."""
    below = f"$.Resources.{resource}"
    return (
        (place, member) == ("$.Resources", resource) or place == below or place.startswith((f"{below}.", f"{below}["))
    )
