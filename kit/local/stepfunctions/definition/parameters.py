"""Check the parameters of a task by the model of the API that it calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.local.requests import models
from kit.local.stepfunctions.definition.problems import Problem, schema
from kit.local.stepfunctions.language.jsonata_queries import is_query
from kit.local.stepfunctions.tasks.resources import Resource
from kit.local.stepfunctions.tasks.sdk_shapes import members, pascal


def problems(resource: Resource, given: Any, path: str, *, is_jsonata: bool) -> Iterator[Problem]:
    """Yield parameters that the operation does not have, and those that it needs and are missing."""
    if not isinstance(given, dict):
        if not is_query(given):
            yield schema("The parameters must be an object", path)
        return
    shape = models.model(resource.service).operation_model(resource.operation).input_shape
    names = {name if is_jsonata else name.removesuffix(".$") for name in given}
    known = {} if shape is None else members(shape)
    for name in names:
        if name.lower() not in known:
            yield schema(f"The field '{name}' is not supported by Step Functions", path)
    lowered = {name.lower() for name in names}
    if shape is None:
        return
    for name in shape.required_members:
        # The client makes up a token that is not given.
        is_made_up = shape.members[name].metadata.get("idempotencyToken", False)
        if name.lower() not in lowered and not is_made_up:
            yield schema(f"The field '{pascal(name)}' is required but was missing", path)
