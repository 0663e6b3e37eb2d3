"""Draw edits of JSON documents: another type, a number out of range, a deep value, a member that is gone or doubled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

PLACES_MAX = 400
# As they would stand in the file: some of them are no JSON.
VALUES = [
    "null", "true", "false", "0", "-1", "1", "1.5", "1e308", "-1e308", "1e999", "NaN", "-Infinity",
    "9223372036854775807",
    "9223372036854775808", "1e-320", "-0.0", "253402300800", "0" * 3, "9" * 30, "9" * 5000, '""', '" "', '"x"',
    '"é\\u202e"',
    '"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"<script>"', '"../../../etc/passwd"', '"/dev/zero"',
    '"' + "x" * 5000 + '"',
    '"PT1M"', '"true"', '"1"', '"PASS"', '"FAIL"', '"none"', '"2026-01-01T00:00:00Z"', "[]", "{}", "[null]", "[[]]",
    "[{}]",
    '{"": null}', '{"a": {"a": {}}}', '["x", "x"]', "[" * 60 + "]" * 60, "[" * 5000, '{"a":' * 5000, "'x'", "[1,]",
    "",
    '{"__class__": 1}', '{"Ref": "X"}', '{"Fn::Sub": "${X}"}', '{"Fn::If": ["X", 1, 2]}',
]  # fmt: skip
NAMES = ["", "x", "__class__", "é", "\ud800", "x" * 3000, "Ref", "Fn::Sub", "tags", "0", "$ref"]
HOLE, TWIN = "@hole@", "@twin@"

# An edit is [kind, number of the place, argument]; it is applied to a document of any shape.
Edit = Sequence[Any]


def edits(values: Sequence[str] = VALUES) -> st.SearchStrategy[list[Any]]:
    """Draw one edit."""
    place = st.integers(0, PLACES_MAX)
    return st.one_of(
        st.tuples(st.just("value"), place, st.sampled_from(values)).map(list),
        st.tuples(st.just("gone"), place, st.just("")).map(list),
        st.tuples(st.just("named"), place, st.sampled_from(NAMES)).map(list),
        st.tuples(st.just("twice"), place, st.sampled_from(values)).map(list),
        st.tuples(st.just("moved"), place, place).map(list),
    )


def edited(text: str, edit: Edit) -> str:
    """Apply an edit to the text of a JSON document. A text that is no JSON stays as it is."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    kind, number, argument = edit
    places = _places(document)
    if not places:
        return argument if kind == "value" else text
    holder, key = places[number % len(places)]
    value = holder[key]
    match kind:
        case "value":
            holder[key] = HOLE
        case "gone":
            del holder[key]
        case "moved":
            other, name = places[argument % len(places)]
            other[name] = json.loads(json.dumps(value))
        case "named" if isinstance(holder, dict):
            holder[argument] = holder.pop(key)
        case "twice" if isinstance(holder, dict):
            holder[TWIN] = HOLE
    made = json.dumps(document, indent=1).replace(f'"{TWIN}"', json.dumps(key))
    return made.replace(f'"{HOLE}"', str(argument))


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return every place of a document as (what holds it, key or index), in the order of the text."""
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            found += [(document, key), *_places(value)]
    return found
