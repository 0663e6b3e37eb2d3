"""The data about what is honoured agrees with botocore's models and with the code that serves the operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ministack.services
import pytest

from kit.local.requests import models
from kit.local.requests.contract import Contract, Member, Operation, contracts
from kit.local.requests.shapes import compile_check, compiled_pattern

ROOMS = Path(__file__).parents[2] / "kit" / "local"
# Rooms that answer operations themselves, and how their code names an operation.
DISPATCHED = {
    "ssm": ("operations.py", r"^    \"([A-Z]\w+)\": [a-z_]+,$"),
    "ecr": ("operations.py", r"^            \"([A-Z]\w+)\": self\."),
    "fis": ("operations.py", r"\"([A-Z]\w+)\": "),
    "ecs": ("operations.py", r"^        \"([A-Z]\w+)\": [a-z_]+\."),
}
# The rooms, or MiniStack, keep these tokens themselves.
TOKENS_OF_THE_ROOM = {
    "dynamodb.ExecuteTransaction", "dynamodb.TransactWriteItems", "fis.CreateExperimentTemplate", "fis.StartExperiment",
    "fis.CreateTargetAccountConfiguration", "athena.StopQueryExecution", "secretsmanager.PutSecretValue",
    "secretsmanager.UpdateSecret",
}  # fmt: skip
MINISTACK = Path(ministack.services.__file__).parent
# MiniStack's modules by botocore's name of the service, where they differ.
MODULES = {
    "dynamodbstreams": ("dynamodb_streams",), "logs": ("cloudwatch_logs",), "elbv2": ("alb",), "fis": (),
    "appconfigdata": ("appconfig",), "events": ("eventbridge",), "lambda": ("lambda_svc",),
    "resourcegroupstaggingapi": ("tagging",),
    "cloudformation": tuple(f"cloudformation/{each}" for each in ("handlers", "changesets", "stacks", "helpers")),
}  # fmt: skip
# S3 puts the names of its checksum headers together; a worker's name and an old sequence token change nothing on AWS.
NAMED_BY_PARTS = {
    "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256", "workerName",
    "sequenceToken",
}  # fmt: skip
by_service = {contract.service: contract for contract in contracts()}
everyone = pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract.service)


@everyone
def test_every_operation_and_member_exists_in_the_model(contract: Contract) -> None:
    model = models.model(contract.service)
    assert set(contract.operations) <= set(model.operation_names)
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        unknown = list(_unknown(shape, operation.request, operation.name))
        assert unknown == []


@everyone
def test_every_required_member_is_honoured(contract: Contract) -> None:
    """Otherwise every call of the operation, or with the structure, is refused."""
    model = models.model(contract.service)
    refused = [
        name
        for operation in contract.operations.values()
        for name in _required_and_refused(
            model.operation_model(operation.name).input_shape, operation.request, operation.name
        )
    ]
    assert refused == []


def _required_and_refused(shape: Any, member: Member, where: str) -> Iterator[str]:
    while shape is not None and shape.type_name in ("list", "map"):
        shape = shape.member if shape.type_name == "list" else shape.value
    if shape is None or shape.type_name != "structure" or member.is_whole:
        return
    yield from (f"{where}.{name}" for name in shape.required_members if member.of(name) is None)
    for name, inner in member.members.items():
        yield from _required_and_refused(shape.members[name], inner, f"{where}.{name}")


@everyone
def test_every_idempotency_token_is_honoured(contract: Contract) -> None:
    """Botocore makes up a token for each call, so it must be accepted; whoever sends it again expects one effect."""
    model = models.model(contract.service)
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        for name, member in shape.members.items() if shape is not None else ():
            if member.metadata.get("idempotencyToken"):
                assert operation.request.of(name) is not None
                where = f"{contract.service}.{operation.name}"
                assert operation.token == name or where in TOKENS_OF_THE_ROOM, where


@everyone
def test_every_operation_can_be_checked(contract: Contract) -> None:
    model = models.model(contract.service)
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        if shape is not None:
            assert callable(compile_check(shape, operation.request))


@everyone
def test_values_and_tokens_name_members_of_their_kind(contract: Contract) -> None:
    model = models.model(contract.service)
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        if operation.token is not None:
            assert shape.members[operation.token].type_name == "string"
            assert operation.token_error
        for leaf, member in _leaves(shape, operation.request):
            if member.values is not None and leaf.metadata.get("enum"):
                assert set(member.values) <= set(leaf.metadata["enum"])
            if member.keys is not None:
                assert leaf.type_name == "map"


@everyone
def test_every_honoured_member_is_named_by_the_code_that_serves_it(contract: Contract) -> None:
    """A member that no code names cannot act. (That it is named does not prove that it acts.)"""
    words = _words_of(contract)
    model = models.model(contract.service)
    unnamed = [
        f"{operation.name}.{name}"
        for operation in contract.operations.values()
        if (shape := model.operation_model(operation.name).input_shape) is not None
        for name, member in shape.members.items()
        if _is_read_by_the_service(operation, name) and not (_names(shape, name, member) & words)
    ]
    assert [each for each in unnamed if each.partition(".")[2] not in NAMED_BY_PARTS] == []


def _is_read_by_the_service(operation: Operation, name: str) -> bool:
    honoured = operation.request.of(name)
    if honoured is None or _is_default_only(honoured) or name == operation.token:
        return False
    return not operation.is_paged_here or name not in ("nextToken", "NextToken")


def _is_default_only(member: Member) -> bool:
    inner = member.members.values()
    return member.values is not None or bool(not member.is_whole and inner and all(map(_is_default_only, inner)))


def _names(shape: Any, name: str, member: Any) -> set[str]:
    """Return the names by which code may know a member: its own, on the wire, as a list's items, in a path."""
    serialization = member.serialization
    if serialization.get("location") == "uri" or shape.serialization.get("payload") == name:
        return {"def"}  # Read by its place.
    items = member.member.serialization.get("name") if member.type_name == "list" else None
    given = (name, serialization.get("name"), serialization.get("queryName"), items)
    return {_plain(each) for each in given if each}


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _words_of(contract: Contract) -> set[str]:
    texts = [(MINISTACK / f"{name}.py").read_text() for name in MODULES.get(contract.service, (contract.service,))]
    if contract.path.parent.parent == ROOMS and contract.path.parent.name != "requests":
        texts += [path.read_text() for path in contract.path.parent.rglob("*.py")]
    return {_plain(word) for text in texts for word in re.findall(r"[\w-]+", text)}


@everyone
def test_every_resource_is_checked_by_an_operation_that_is_honoured(contract: Contract) -> None:
    for resource in contract.resources:
        assert resource.operation in contract.operations
        assert resource.type.startswith("AWS::")


@pytest.mark.parametrize("room", DISPATCHED)
def test_a_room_serves_what_its_data_says(room: str) -> None:
    """Each operation that the room's code dispatches is in the data."""
    file, pattern = DISPATCHED[room]
    dispatched = set(re.findall(pattern, (ROOMS / room / file).read_text(), re.MULTILINE))
    assert dispatched
    assert dispatched <= set(by_service[room].operations)


def test_python_can_read_nearly_all_patterns_of_the_models() -> None:
    """A pattern that Python cannot read is not checked."""
    unreadable: list[str] = []
    total = 0
    for contract in contracts():
        model = models.model(contract.service)
        for name in model.shape_names:
            pattern = model.shape_for(name).metadata.get("pattern")
            if pattern:
                total += 1
                if compiled_pattern(pattern) is None:
                    unreadable.append(f"{contract.service}.{name}: {pattern}")
    assert total > 500
    assert unreadable == []


def _unknown(shape: Any, member: Member, where: str) -> Iterator[str]:
    if shape is None or shape.type_name not in ("structure", "list", "map"):
        if member.members or (shape is None and member.members):
            yield from (f"{where}.{name}" for name in member.members)
        return
    if shape.type_name != "structure":
        yield from _unknown(shape.member if shape.type_name == "list" else shape.value, member, where)
        return
    for name, inner in member.members.items():
        if name not in shape.members:
            yield f"{where}.{name}"
        else:
            yield from _unknown(shape.members[name], inner, f"{where}.{name}")


def _leaves(shape: Any, member: Member) -> Iterator[tuple[Any, Member]]:
    if shape is None:
        return
    yield shape, member
    inner = {"list": "member", "map": "value"}.get(shape.type_name)
    if inner and member.members:
        yield from _leaves(getattr(shape, inner), replace(member, values=None, keys=None))
    elif shape.type_name == "structure":
        for name, each in member.members.items():
            yield from _leaves(shape.members[name], each)


@everyone
def test_the_rules_of_properties_are_honoured_members(contract: Contract) -> None:
    rules = [rule for resource in contract.resources for rule in resource.also.values() if rule]
    for rule in rules:
        operation, *path = rule.split(".")
        member: Member | None = contract.operations[operation].request
        for name in path:
            member = None if member is None else member.of(name)
        assert member is not None, rule
