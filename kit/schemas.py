"""Validate records against the JSON schemas that lie beside the modules that write them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from kit.errors import EvidenceMissing

PROBLEMS_SHOWN_MAX = 3
PROBLEM_CHARS_MAX = 200


@cache
def load(package: str, file_name: str) -> dict[str, Any]:
    """Load the JSON schema `file_name` of a package."""
    return json.loads(files(package).joinpath(file_name).read_text(encoding="utf-8"))


def validate(record: Any, package: str, file_name: str) -> None:
    """Validate a record; raises EvidenceMissing that names the schema and the first problems."""
    problems = sorted(_validator(package, file_name).iter_errors(record), key=lambda problem: problem.json_path)
    if problems:
        name = load(package, file_name)["properties"]["schema"]["const"]
        shown = [f"{one.json_path}: {one.message[:PROBLEM_CHARS_MAX]}" for one in problems[:PROBLEMS_SHOWN_MAX]]
        raise EvidenceMissing(f"not a {name} record ({len(problems)} problems): {'; '.join(shown)}")


@cache
def _validator(package: str, file_name: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load(package, file_name))
