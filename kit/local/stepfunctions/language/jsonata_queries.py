"""Evaluate JSONata expressions with the functions that Step Functions adds and without the one that it leaves out."""

from __future__ import annotations

import functools
import hashlib
import math
import random
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from kit.errors import KitError
from kit.local.stepfunctions.language.intrinsic_functions import HASHES
from kit.local.stepfunctions.language.json_values import is_number, parse_json

# Importing the library raises Python's limit of recursion for the whole process, on which other readers rely.
_RECURSION_MAX = sys.getrecursionlimit()
from jsonata import Jsonata  # noqa: E402
from jsonata.jexception import JException  # noqa: E402
from jsonata.utils import Utils  # noqa: E402

sys.setrecursionlimit(_RECURSION_MAX)

BEGIN, END = "{%", "%}"
# An expression is evaluated on the event loop, so that it may take no longer.
EVALUATION_MS_MAX = 1_000
DEPTH_MAX = 500
# Frames of Python that an evaluation of that depth may take.
FRAMES_MAX = 10_000
RANGE_ITEMS_MAX = 1_000_000
# What an expression that returns nothing is evaluated to.
UNDEFINED = object()


class QueryInvalid(KitError):
    """The expression cannot be parsed. The message begins with the code of JSONata's error."""


class QueryThrew(KitError):
    """The evaluation failed. The message begins with the code of JSONata's error, where there is one."""


def is_query(value: Any) -> bool:
    """Return whether a value of a definition is an expression."""
    return isinstance(value, str) and value.startswith(BEGIN) and value.endswith(END)


def text_of(value: str) -> str:
    """Return the expression between the brackets."""
    return value[len(BEGIN) : -len(END)].strip()


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Jsonata:
    """Parse an expression. Raises QueryInvalid."""
    try:
        query = Jsonata(text)
    except JException as error:
        raise QueryInvalid(_message(error)) from error
    except Exception as error:  # boundary: the parser raises errors of any type for some texts
        raise QueryInvalid(f"S0201: Syntax error: {error}") from error
    if query.errors:
        raise QueryInvalid(_message(query.errors[0]))
    query.set_output_convert_nulls(False)
    return query


def evaluate(text: str, variables: Mapping[str, Any]) -> Any:
    """Return the value of an expression, or UNDEFINED. Raises QueryInvalid, QueryThrew."""
    query = parse(text)
    # The time limit counts from here; the library finds the running expression by the thread.
    query.environment = query.create_frame(Jsonata.static_frame)
    query.environment.set_runtime_bounds(EVALUATION_MS_MAX, DEPTH_MAX)
    Jsonata.CURRENT.jsonata = query
    bindings: dict[str, Any] = {name: _to_jsonata(value) for name, value in variables.items()}
    sys.setrecursionlimit(FRAMES_MAX)
    try:
        return _from_jsonata(query.evaluate(None, bindings | _FUNCTIONS))
    except JException as error:
        raise QueryThrew(_message(error)) from error
    except QueryThrew:
        raise
    except RecursionError as error:
        raise QueryThrew("D1011: Stack overflow. Check for non-terminating recursive function") from error
    except Exception as error:  # boundary: the library raises errors of any type for values that it does not expect
        raise QueryThrew(str(error)) from error
    finally:
        sys.setrecursionlimit(_RECURSION_MAX)


def _message(error: Exception) -> str:
    if not isinstance(error, JException):
        return str(error)
    return f"{error.error}: {str(error).replace(' Object ', ' function ')}"


def _to_jsonata(value: Any) -> Any:
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {key: _to_jsonata(item) for key, item in value.items()}
    return [_to_jsonata(item) for item in value] if isinstance(value, list) else value


def _from_jsonata(value: Any) -> Any:
    if value is None:
        return UNDEFINED
    return _json(value)


def _json(value: Any) -> Any:
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        # A range knows its items by index only.
        return [_json(value[at]) for at in range(len(value))]
    if isinstance(value, str | bool):
        return value
    if is_number(value):
        if not math.isfinite(value):
            raise QueryThrew(f"D1001: Number out of range: {value}")
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    raise QueryThrew("the expression returned a function, which is no JSON value")


# ---- the functions of Step Functions


def _sequence(items: Any) -> Any:
    return Utils.create_sequence_from_iter(items)


def _whole(value: Any, what: str) -> int:
    if not is_number(value) or not math.isfinite(value):
        raise QueryThrew(f"T0410: Argument {what} does not match function signature")
    return math.floor(value)


def _partition(array: Any = None, size: Any = None) -> Any:
    if array is None:
        return None
    items = array if isinstance(array, list) else [array]
    length = _whole(size, "2 of function partition")
    if length <= 0:
        raise QueryThrew("the chunk size of $partition must be positive")
    return _sequence([items[at] for at in range(start, min(start + length, len(items)))]
                     for start in range(0, len(items), length))  # fmt: skip


def _range(first: Any = None, last: Any = None, step: Any = None) -> Any:
    if first is None or last is None:
        return None
    names = ("1 of function range", "2 of function range", "3 of function range")
    start, end, by = (_whole(each, name) for each, name in zip((first, last, step), names, strict=True))
    if by == 0:
        raise QueryThrew("the increment of $range must not be zero")
    numbers = range(start, end + (1 if by > 0 else -1), by)
    if len(numbers) > RANGE_ITEMS_MAX:
        raise QueryThrew(f"$range allows {RANGE_ITEMS_MAX} items, not {len(numbers)}")
    return _sequence(numbers)


def _hash(data: Any = None, algorithm: Any = "SHA-1") -> Any:
    if data is None:
        return None
    if not isinstance(data, str):
        raise QueryThrew("T0410: Argument 1 of function hash does not match function signature")
    if algorithm not in HASHES:
        raise QueryThrew(f"the algorithm of $hash is not one of {', '.join(HASHES)}")
    return hashlib.new(HASHES[algorithm], data.encode(), usedforsecurity=False).hexdigest()


def _random(seed: Any = None) -> float:
    if seed is None:
        return random.random()
    return random.Random(_whole(seed, "1 of function random")).random()


def _parse(text: Any = None) -> Any:
    if text is None:
        return None
    if not isinstance(text, str):
        raise QueryThrew("T0410: Argument 1 of function parse does not match function signature")
    try:
        return _to_jsonata(parse_json(text))
    except ValueError as error:
        raise QueryThrew(f"the argument of $parse is not JSON: {error}") from error


_FUNCTIONS = {
    "partition": Jsonata.JLambda(_partition),
    "range": Jsonata.JLambda(_range),
    "hash": Jsonata.JLambda(_hash),
    "random": Jsonata.JLambda(_random),
    "uuid": Jsonata.JLambda(lambda: str(uuid.uuid4())),
    "parse": Jsonata.JLambda(_parse),
    # Step Functions does not have it.
    "eval": Utils.NULL_VALUE,
}
