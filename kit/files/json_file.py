"""Read JSON within bounds: size, nesting, numbers, texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from kit.errors import UnreadableFile
from kit.files.bounds import VALUES_MAX, RepeatedMembers, check_bounds
from kit.files.regular_file import RECORD_BYTES_MAX, read_text


def read_json(path: Path, bytes_max: int = RECORD_BYTES_MAX) -> Any:
    """Read a JSON file in which no object has a member twice. Raises UnreadableFile."""
    document, repeated = parse_json(read_text(path, bytes_max), path.name)
    for place, member in repeated:
        raise UnreadableFile(f"{path.name}: {place} has the member {member!r} more than once")
    return document


def read_object(path: Path, bytes_max: int = RECORD_BYTES_MAX) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises UnreadableFile."""
    document = read_json(path, bytes_max)
    if not isinstance(document, dict):
        raise UnreadableFile(f"{path.name} is not a JSON object: it holds {kind_of(document)}")
    return document


def parse_json(text: str, name: str, values_max: int = VALUES_MAX) -> tuple[Any, list[tuple[str, str]]]:
    """Parse JSON text; return the document and its repeated members, as (path of the object, name of the member).

    Raises UnreadableFile that says what is wrong with the file `name`, with the line and column of a syntax error.
    """
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise UnreadableFile(
            f"{name} cannot be read, it is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise UnreadableFile(f"{name} is nested too deeply") from error
    except ValueError as error:
        # A whole number of thousands of digits, or a constant that is no JSON.
        raise UnreadableFile(f"{name} cannot be read, it is not JSON: {error}") from error
    return document, check_bounds(document, name, values_max)


def kind_of(value: Any) -> str:
    """Name the JSON type of a value, for messages."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return {dict: "an object", list: "a list", str: "a text"}.get(type(value), "a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    names = [name for name, _ in pairs if name in seen or seen.add(name)]
    return RepeatedMembers(made, tuple(dict.fromkeys(names)))


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")
