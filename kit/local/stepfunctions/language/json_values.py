"""Read, write, compare and measure JSON values as Step Functions does."""

from __future__ import annotations

import json
import math
from typing import Any, TypeGuard

# The limit of the input and the output of a state, of a task's result and of a variable.
PAYLOAD_BYTES_MAX = 262_144


def dump(value: Any) -> str:
    """Write compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size_bytes(text: str) -> int:
    """Return the size of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def parse_json(text: str) -> Any:
    """Parse JSON. Raises ValueError, also for NaN and infinite numbers."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same_json(left: Any, right: Any) -> bool:
    """Compare two values; true is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return left == right


def java_text(value: Any) -> str:
    """Return a value as Java's toString writes it, which States.Format shows."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={java_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(java_text(item) for item in value) + "]"
    return dump(value)


def json_type(value: Any) -> str:
    """Return the name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if is_number(value):
        return "number"
    return "array" if isinstance(value, list) else "object"


def as_integer(value: Any) -> int | None:
    """Return a whole number, also one that is written as a text; None if it is none."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if not is_number(value) or not math.isfinite(value) or value != int(value):
        return None
    return int(value)
