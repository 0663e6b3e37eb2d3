"""Check that a parsed document is small enough and holds only what every consumer can express.

A YAML document may refer to one part many times, or to itself. The walk counts each occurrence, so it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kit.errors import UnreadableFile

DEPTH_MAX = 64
VALUES_MAX = 2_000_000
INTEGER_BITS_MAX = 64
TEXT_SHOWN_MAX = 40

# A place in a document: the place that holds it, and its key or index there. The root has none.
Place = tuple[Any, Any] | None


class RepeatedMembers(dict[Any, Any]):
    """An object in which some names occur more than once; the last value of each is kept."""

    def __init__(self, values: dict[Any, Any], names: tuple[Any, ...]) -> None:
        super().__init__(values)
        self.names = names


def check_bounds(document: Any, name: str, values_max: int = VALUES_MAX) -> list[tuple[str, str]]:
    """Check a document; return the members that occur more than once, as (path of the object, name of the member).

    Raises UnreadableFile that names the file `name` and the member.
    """
    repeated: list[tuple[str, str]] = []
    for count, (value, depth, place) in enumerate(_walk(document), start=1):
        if count > values_max:
            raise UnreadableFile(f"{name} holds more than {values_max} values")
        if depth > DEPTH_MAX:
            raise UnreadableFile(f"{name} is nested more than {DEPTH_MAX} levels deep")
        problem = _problem(value)
        if problem:
            raise UnreadableFile(f"{name}: {path_of(place)} {problem}")
        if isinstance(value, dict):
            for key in value:
                if isinstance(key, str) and _has_surrogate(key):
                    raise UnreadableFile(f"{name}: {path_of(place)} has a member whose name is not Unicode text")
            if isinstance(value, RepeatedMembers):
                repeated += [(path_of(place), str(each)) for each in value.names]
    return repeated


def path_of(place: Place) -> str:
    """Write a place as a path such as `$.checks[3].unit`."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{str(step)[:TEXT_SHOWN_MAX]}")
    return "$" + "".join(reversed(steps))


def _walk(document: Any) -> Iterator[tuple[Any, int, Place]]:
    todo: list[tuple[Any, int, Place]] = [(document, 0, None)]
    while todo:
        value, depth, place = todo.pop()
        yield value, depth, place
        if isinstance(value, dict):
            todo += [(item, depth + 1, (place, key)) for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(item, depth + 1, (place, index)) for index, item in enumerate(value)]


def _problem(value: Any) -> str:
    if isinstance(value, str):
        return "holds a lone surrogate, which is not Unicode text" if _has_surrogate(value) else ""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if value.bit_length() <= INTEGER_BITS_MAX else f"is a whole number of over {INTEGER_BITS_MAX} bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is {value}, which is not a finite number"
    return ""


def _has_surrogate(text: str) -> bool:
    # isascii is far faster than the search, and true of nearly all texts.
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
