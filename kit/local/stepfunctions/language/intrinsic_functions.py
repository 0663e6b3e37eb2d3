"""Compute the intrinsic functions of JSONPath states, with the limits that AWS documents."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import random
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError
from kit.local.stepfunctions.language.json_values import dump, is_number, java_text, parse_json, same_json

ARRAY_ITEMS_MAX = 1000
TEXT_CHARS_MAX = 10_000
FORMAT_ARGUMENTS_MAX = 100
INTEGER_MIN, INTEGER_MAX = -(2**31), 2**31 - 1
HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


class FunctionFailed(KitError):
    """A function does not accept its arguments."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function and the number of its arguments."""

    apply: Callable[..., Any]
    least: int
    most: int

    def arity(self) -> str:
        """Return the number of arguments in words."""
        if self.least == self.most:
            return f"{self.least} argument(s)"
        return f"{self.least} to {self.most} arguments"


def unescape(text: str) -> str:
    """Return a literal without its escapes, keeping those of braces, which Format reads."""
    return re.sub(r"\\(['\\])", r"\1", text)


def integer(value: Any, what: str) -> int:
    """Return a number rounded to an integer. Raises FunctionFailed."""
    if not is_number(value) or not math.isfinite(value):
        raise FunctionFailed(f"The {what} must be a number, not {dump(value)}")
    rounded = math.floor(value + 0.5)
    if not INTEGER_MIN <= rounded <= INTEGER_MAX:
        raise FunctionFailed(f"The {what} {value} is not between {INTEGER_MIN} and {INTEGER_MAX}")
    return rounded


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FunctionFailed(f"The first argument must be an array, not {dump(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FunctionFailed(f"The argument must be a string, not {dump(value)}")
    if len(value) > TEXT_CHARS_MAX:
        raise FunctionFailed(f"The argument has {len(value)} characters; {TEXT_CHARS_MAX} are allowed")
    return value


def array_partition(array: Any, size: Any) -> list[Any]:
    """Cut an array into chunks."""
    items, length = _array(array), integer(size, "chunk size")
    if length <= 0:
        raise FunctionFailed(f"The chunk size must be positive, not {length}")
    return [items[at : at + length] for at in range(0, len(items), length)]


def array_contains(array: Any, value: Any) -> bool:
    """Return whether an array has an item."""
    return any(same_json(item, value) for item in _array(array))


def array_range(first: Any, last: Any, step: Any) -> list[int]:
    """Return the numbers from `first` to `last`, both included."""
    start, end, by = (integer(each, name) for each, name in ((first, "first"), (last, "last"), (step, "increment")))
    if by == 0:
        raise FunctionFailed("The increment must not be zero")
    numbers = range(start, end + (1 if by > 0 else -1), by)
    if len(numbers) > ARRAY_ITEMS_MAX:
        raise FunctionFailed(f"The range has {len(numbers)} items; {ARRAY_ITEMS_MAX} are allowed")
    return list(numbers)


def array_get_item(array: Any, index: Any) -> Any:
    """Return one item."""
    items, at = _array(array), integer(index, "index")
    if not 0 <= at < len(items):
        raise FunctionFailed(f"The index {at} is out of bounds of an array of {len(items)} items")
    return items[at]


def array_unique(array: Any) -> list[Any]:
    """Return an array without its repeated items."""
    found: list[Any] = []
    for item in _array(array):
        if not any(same_json(item, each) for each in found):
            found.append(item)
    return found


def base64_encode(text: Any) -> str:
    """Encode a text."""
    return base64.b64encode(_text(text).encode()).decode()


def base64_decode(text: Any) -> str:
    """Decode a text."""
    try:
        return base64.b64decode(_text(text), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise FunctionFailed("The argument is not a Base64 text") from error


def digest(data: Any, algorithm: Any) -> str:
    """Return the hash of a text in hexadecimal digits."""
    if algorithm not in HASHES:
        raise FunctionFailed(f"The algorithm {dump(algorithm)} is not one of {', '.join(HASHES)}")
    text = data if isinstance(data, str) else dump(data)
    return hashlib.new(HASHES[algorithm], _text(text).encode(), usedforsecurity=False).hexdigest()


def json_merge(first: Any, second: Any, is_deep: Any) -> dict[str, Any]:
    """Merge two objects; the second one wins."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise FunctionFailed("The first two arguments must be objects")
    if is_deep is not False:
        raise FunctionFailed("The third argument must be false: deep merging is not supported")
    return {**first, **second}


def string_to_json(text: Any) -> Any:
    """Parse a text."""
    if not isinstance(text, str):
        raise FunctionFailed(f"The argument must be a string, not {dump(text)}")
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except ValueError as error:
        raise FunctionFailed(f"The argument is not JSON: {error}") from error


def math_random(start: Any, end: Any, seed: Any = None) -> int:
    """Return a number from `start` (included) to `end` (not included)."""
    low, high = integer(start, "start"), integer(end, "end")
    if high <= low:
        raise FunctionFailed(f"The end {high} must be greater than the start {low}")
    # The numbers of a seed are Python's, not Java's.
    source = random.Random() if seed is None else random.Random(integer(seed, "seed"))
    return source.randrange(low, high)


def math_add(first: Any, second: Any) -> int:
    """Add two numbers."""
    return integer(integer(first, "first argument") + integer(second, "second argument"), "sum")


def string_split(text: Any, delimiters: Any) -> list[str]:
    """Split at any of the delimiters' characters, leaving out empty parts."""
    if not isinstance(text, str) or not isinstance(delimiters, str):
        raise FunctionFailed("Both arguments must be strings")
    if not delimiters:
        return [text] if text else []
    return [part for part in re.split(f"[{re.escape(delimiters)}]", text) if part]


def format_text(template: Any, *values: Any) -> str:
    """Replace each `{}` of a template by the next value."""
    if not isinstance(template, str):
        raise FunctionFailed("The first argument must be a string")
    pieces = re.split(r"(\\[{}\\]|\{\})", template)
    if pieces.count("{}") != len(values):
        raise FunctionFailed(f"The template has {pieces.count('{}')} occurrences of {{}} for {len(values)} arguments")
    rest = iter(values)
    return "".join(
        java_text(next(rest)) if piece == "{}" else piece[1:] if re.fullmatch(r"\\[{}\\]", piece) else piece
        for piece in pieces
    )


FUNCTIONS = {
    "Array": Function(lambda *items: list(items), 0, ARRAY_ITEMS_MAX),
    "ArrayPartition": Function(array_partition, 2, 2),
    "ArrayContains": Function(array_contains, 2, 2),
    "ArrayRange": Function(array_range, 3, 3),
    "ArrayGetItem": Function(array_get_item, 2, 2),
    "ArrayLength": Function(lambda array: len(_array(array)), 1, 1),
    "ArrayUnique": Function(array_unique, 1, 1),
    "Base64Encode": Function(base64_encode, 1, 1),
    "Base64Decode": Function(base64_decode, 1, 1),
    "Hash": Function(digest, 2, 2),
    "JsonMerge": Function(json_merge, 3, 3),
    "StringToJson": Function(string_to_json, 1, 1),
    "JsonToString": Function(lambda value: dump(value), 1, 1),
    "MathRandom": Function(math_random, 2, 3),
    "MathAdd": Function(math_add, 2, 2),
    "StringSplit": Function(string_split, 2, 2),
    "UUID": Function(lambda: str(uuid.uuid4()), 0, 0),
    "Format": Function(format_text, 1, FORMAT_ARGUMENTS_MAX),
}
