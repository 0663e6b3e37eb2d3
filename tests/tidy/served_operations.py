"""Make the table of docs/fidelity.md that says which operations of a service are served, and which members are not.

It comes from the data by which the local AWS refuses requests: `honoured.yaml` of a room, or `passed_through/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.local.requests import models
from kit.local.requests.contract import Contract, Member, contracts

HEAD = "| Service | Operations served | Members refused | Members with some values only |"
EVERY_ONE = "all"


def rows() -> list[list[str]]:
    """Return the cells of one row for each service."""
    return [_row(contract) for contract in sorted(contracts(), key=lambda each: each.service)]


def _row(contract: Contract) -> list[str]:
    model = models.model(contract.service)
    refused, limited = [], []
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        if shape is None:
            continue
        if names := list(_refused(shape, operation.request, "")):
            refused.append(f"`{operation.name}`: {', '.join(names)}")
        limited += [f"`{operation.name}`: {each}" for each in _limited(operation.request, "")]
    is_complete = len(contract.operations) == len(model.operation_names)
    served = EVERY_ONE if is_complete else ", ".join(contract.operations)
    return [contract.service, served, "; ".join(refused), "; ".join(limited)]


def _refused(shape: Any, member: Member, path: str) -> Iterator[str]:
    while shape.type_name in ("list", "map"):
        shape = shape.member if shape.type_name == "list" else shape.value
    for name, inner in shape.members.items() if shape.type_name == "structure" else ():
        honoured = member.of(name)
        if honoured is None:
            yield f"{path}{name}"
        elif not honoured.is_whole and honoured.values is None:
            yield from _refused(inner, honoured, f"{path}{name}.")


def _limited(member: Member, path: str) -> Iterator[str]:
    for name, inner in member.members.items():
        if inner.values is not None:
            yield f"{path}{name} {' or '.join(str(each) for each in inner.values)}"
        if inner.keys is not None:
            yield f"{path}{name} with {', '.join(sorted(inner.keys))}"
        yield from _limited(inner, f"{path}{name}.")
