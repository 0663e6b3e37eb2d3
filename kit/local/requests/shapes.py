"""Check requests by botocore's shapes and by what is honoured of them.

A shape is compiled into a function once, because the check runs for each call of each task.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from kit.local.requests.contract import EVERYTHING, Member
from kit.local.requests.problems import MALFORMED, UNKNOWN, UNSERVED, Refused, missing, violated

# Shapes are annotated as `Any`, because type checkers cannot infer the types of botocore's shape classes.
Check = Callable[[Any], None]

_TEXT_CHECKED_MAX = 100_000
NOT_SERVED = "is not served here"
_JAVA_CLASSES = (
    (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF"),
    (r"\p{IsAlphabetic}", r"\w"), (r"\p{Alnum}", r"a-zA-Z0-9"), (r"\p{Alpha}", "a-zA-Z"), (r"\p{ASCII}", r"\x00-\x7F"),
    (r"\p{Graph}", r"\x21-\x7E"), (r"\p{Print}", r"\x20-\x7E"), (r"\p{Space}", r"\s"),
    (r"\p{L}\p{M}", r"\w"), (r"\p{L}", r"\w"), (r"\p{M}", r"\w"), (r"\p{N}", r"\w"), (r"\p{Z}", r"\s"),
    (r"[\w-", r"[\w\-"), (r"\p{P}", r"!-/:-@\[-`{-~"), (r"\p{S}", r"$+<=>^`|~"),
)  # fmt: skip


def compile_check(shape: Any, member: Member) -> Check:
    """Return a function that raises Refused for a value that the shape refuses, or that is not honoured."""
    return _compile(shape, member, {})


def _compile(shape: Any, member: Member, known: dict[tuple[str, int], list[Check]]) -> Check:
    # Shapes may contain themselves (DynamoDB's AttributeValue), so a check that is being compiled is found later.
    key = (shape.name, id(member))
    if key in known:
        cell = known[key]
        return cell[0] if cell else lambda value: cell[0](value)
    cell = known[key] = []
    kind = shape.type_name
    if kind == "structure":
        check = _structure(shape, member, known)
    elif kind == "list":
        check = _list(shape, member, known)
    elif kind == "map":
        check = _map(shape, member, known)
    else:
        check = _scalar(shape, is_unchecked=member.is_unchecked)
    if member.values is not None:
        check = _only(member.values, check)
    if member.pattern is not None and kind == "string":
        check = _matching(member.pattern, check)
    cell.append(check)
    return check


def _structure(shape: Any, member: Member, known: Any) -> Check:
    honoured = {name: member.of(name) for name in shape.members}
    checks = {name: _compile(shape.members[name], inner, known) for name, inner in honoured.items() if inner}
    required = tuple(name for name in shape.required_members if honoured[name])
    members = frozenset(shape.members)
    is_tagged_union = getattr(shape, "is_tagged_union", False)

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise _wrong_type("an object", value)
        for name, item in value.items():
            if item is None:
                continue
            inner = checks.get(name)
            if inner is None:
                _refuse_member(name, item, members)
                continue
            try:
                inner(item)
            except Refused as refused:
                refused.path.insert(0, name)
                raise
        for name in required:
            if value.get(name) is None:
                raise missing(name)
        if is_tagged_union and sum(item is not None for item in value.values()) != 1:
            raise violated(sorted(value), "have exactly one of the members set")

    return check


def _refuse_member(name: str, item: Any, members: frozenset[str]) -> None:
    if name not in members:
        refused = Refused(UNKNOWN, "AWS has no such member")
    elif item in ([], {}):
        return  # Nothing is asked for.
    else:
        refused = Refused(UNSERVED, NOT_SERVED)
    refused.path = [name]
    raise refused


def _list(shape: Any, member: Member, known: Any) -> Check:
    inner = _compile(shape.member, _inside(member), known)
    check_size = _size(shape, "length", is_unchecked=member.is_unchecked)

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise _wrong_type("a list", value)
        check_size(len(value), value)
        for index, item in enumerate(value):
            try:
                inner(item)
            except Refused as refused:
                refused.path[:0] = [str(index + 1), "member"]
                raise

    return check


def _map(shape: Any, member: Member, known: Any) -> Check:
    check_key = _compile(shape.key, EVERYTHING, known)
    keys = member.keys
    inner = _compile(shape.value, _inside(member), known)
    check_size = _size(shape, "length", is_unchecked=member.is_unchecked)

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise _wrong_type("an object", value)
        check_size(len(value), value)
        for name, item in value.items():
            try:
                check_key(name)
                if keys is not None and name not in keys:
                    raise Refused(UNSERVED, NOT_SERVED)
                inner(item)
            except Refused as refused:
                refused.path.insert(0, str(name))
                raise

    return check


def _inside(member: Member) -> Member:
    """Return what is honoured of the items of a list or a map."""
    return member if member.values is None and member.keys is None else EVERYTHING


def _only(values: tuple[Any, ...], check: Check) -> Check:
    def check_value(value: Any) -> None:
        check(value)
        if value not in values:
            shown = " or ".join(repr(each) for each in values)
            raise Refused(UNSERVED, f"{value!r} {NOT_SERVED}, only {shown}")

    return check_value


def _matching(pattern: str, check: Check) -> Check:
    compiled = re.compile(pattern)

    def check_text(value: Any) -> None:
        check(value)
        if not compiled.fullmatch(value):
            raise Refused(UNSERVED, f"{value!r} {NOT_SERVED}, only what matches {pattern}")

    return check_text


def _scalar(shape: Any, *, is_unchecked: bool) -> Check:
    kind = shape.type_name
    if kind in ("string", "character"):
        return _string(shape, is_unchecked=is_unchecked)
    if kind in ("integer", "long", "float", "double"):
        return _number(shape, is_unchecked=is_unchecked)
    if kind == "boolean":
        return _boolean
    return _anything  # Blobs, timestamps and documents: the service reads them.


def _string(shape: Any, *, is_unchecked: bool) -> Check:
    check_size = _size(shape, "length", is_unchecked=is_unchecked)
    enum = None if is_unchecked else frozenset(shape.metadata.get("enum") or ()) or None
    pattern = None if is_unchecked else compiled_pattern(shape.metadata.get("pattern"))
    has_rules = enum is not None or pattern is not None or check_size is not _any_size

    def check(value: Any) -> None:
        if not isinstance(value, str):
            raise _wrong_type("a string", value)
        if not has_rules:
            return
        check_size(len(value), value)
        if enum is not None and value not in enum:
            raise violated(value, f"satisfy enum value set: [{', '.join(sorted(enum))}]")
        # AWS searches for the pattern and does not match the whole text.
        if pattern is not None and len(value) <= _TEXT_CHECKED_MAX and not pattern.search(value):
            raise violated(value, f"satisfy regular expression pattern: {shape.metadata['pattern']}")

    return check


def _number(shape: Any, *, is_unchecked: bool) -> Check:
    is_whole = shape.type_name in ("integer", "long")
    check_size = _size(shape, "value", is_unchecked=is_unchecked)

    def check(value: Any) -> None:
        if type(value) is int or (type(value) is float and not is_whole):
            check_size(value, value)
            return
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (is_whole and not (math.isfinite(value) and value == int(value))):
            if not is_whole and value in ("NaN", "Infinity", "-Infinity"):
                return
            raise _wrong_type("a whole number" if is_whole else "a number", value)
        check_size(value, value)

    return check


def _boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise _wrong_type("true or false", value)


def _anything(value: Any) -> None:
    pass


def _any_size(size: Any, value: Any) -> None:
    pass


def _size(shape: Any, noun: str, *, is_unchecked: bool) -> Callable[[Any, Any], None]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if is_unchecked or (low is None and high is None):
        return _any_size
    low, high = -math.inf if low is None else low, math.inf if high is None else high

    def check(size: Any, value: Any) -> None:
        if size < low:
            raise violated(value, f"have {noun} greater than or equal to {low}")
        if size > high:
            raise violated(value, f"have {noun} less than or equal to {high}")

    return check


def _wrong_type(noun: str, value: Any) -> Refused:
    return Refused(MALFORMED, f"{type(value).__name__} {str(value)[:60]!r} must be {noun}")


@functools.cache
def compiled_pattern(text: str | None) -> re.Pattern[str] | None:
    """Return the model's pattern as Python reads it, or None if Python cannot read it."""
    if not text:
        return None
    for java, python in _JAVA_CLASSES:
        text = text.replace(java, python)
    try:
        return re.compile(text)
    except re.error:
        return None


def is_empty(value: Any) -> bool:
    """Return whether a value asks for nothing."""
    return value is None or (isinstance(value, list | Mapping) and not value)
