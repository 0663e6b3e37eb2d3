"""Validate records against the JSON schemas that lie beside the modules that write them.

A schema refers to another one as `PACKAGE/FILE#/$defs/NAME`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

from kit.errors import EvidenceMissing

PROBLEMS_SHOWN_MAX = 3
PROBLEM_CHARS_MAX = 200
# A record of millions of wrong values must not take minutes to be refused.
PROBLEMS_SOUGHT_MAX = 20


@cache
def load(package: str, file_name: str) -> dict[str, Any]:
    """Load the JSON schema `file_name` of a package."""
    return json.loads(files(package).joinpath(file_name).read_text(encoding="utf-8"))


def validate(record: Any, package: str, file_name: str) -> None:
    """Validate a record; raises EvidenceMissing that names the schema and the first problems."""
    found = islice(_validator(package, file_name).iter_errors(record), PROBLEMS_SOUGHT_MAX)
    problems = sorted(found, key=lambda problem: problem.json_path)
    if problems:
        name = load(package, file_name)["properties"]["schema"]["const"]
        shown = [f"{one.json_path}: {one.message[:PROBLEM_CHARS_MAX]}" for one in problems[:PROBLEMS_SHOWN_MAX]]
        raise EvidenceMissing(f"not a {name} record ({len(problems)} problems): {'; '.join(shown)}")


@cache
def _validator(package: str, file_name: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    registry: Any = Registry(retrieve=_resource)  # type: ignore[call-arg]
    return Draft202012Validator(load(package, file_name), registry=registry)


def _resource(uri: str) -> Any:
    from referencing.jsonschema import DRAFT202012

    return DRAFT202012.create_resource(load(*uri.split("/", 1)))
