"""Check and select the parameters of Parameter Store, which MiniStack stores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ministack.services import ssm

from kit.local.patching import Patches
from kit.local.ssm.errors import InvalidAllowedPattern, InvalidFilterOption, ParameterPatternMismatch

Parameter = Mapping[str, Any]

_COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "Equals": lambda text, value: text == value,
    "BeginsWith": lambda text, value: text.startswith(value),
    "Contains": lambda text, value: value in text,
}
_COMPARED = {"Name": "", "Type": "", "KeyId": "", "Tier": "Standard", "DataType": "text"}
_RECURSIVE, _ONE_LEVEL = "Recursive", "OneLevel"


def install(patches: Patches) -> None:
    """Patch MiniStack's filters of DescribeParameters, and let PutParameter check its pattern."""
    patches.replace(ssm, "_apply_filter", matches)
    patches.wrap(ssm, "_put_parameter", _put)


def matches(parameter: Parameter, key: str, option: str, values: Sequence[str]) -> bool:
    """Return whether a parameter passes a filter. Raises InvalidFilterOption."""
    if key == "Path":
        return _is_below(parameter["Name"], _option(key, option, (_RECURSIVE, _ONE_LEVEL), default=_ONE_LEVEL), values)
    compare = _COMPARE[_option(key, option, tuple(_COMPARE), default="Equals")]
    if key == "Label":
        texts = list(parameter.get("Labels") or ())
    elif key.startswith("tag:"):
        tags = ssm._tags.get(parameter["ARN"]) or {}
        texts = [tags[key.removeprefix("tag:")]] if key.removeprefix("tag:") in tags else []
        # A filter without values asks whether the tag is there.
        if not values:
            return bool(texts)
    else:
        texts = [parameter.get(key) or _COMPARED[key]]
    return any(compare(text, value) for text in texts for value in values)


def _option(key: str, given: str, known: tuple[str, ...], *, default: str) -> str:
    # MiniStack passes `Equals` when the request has no option.
    option = default if given == "Equals" and default not in _COMPARE else given
    if option not in known:
        raise InvalidFilterOption(f"option {given} of filter {key} must be one of {', '.join(known)}")
    return option


def _is_below(name: str, option: str, paths: Sequence[str]) -> bool:
    for path in paths:
        prefix = path if path.endswith("/") else f"{path}/"
        if name.startswith(prefix) and (option == _RECURSIVE or "/" not in name[len(prefix) :]):
            return True
    return False


def _put(put: Callable[..., Any], request: Parameter) -> Any:
    """Refuse a value that does not match the parameter's pattern, the new one or the one that is stored."""
    stored = ssm._parameters.get(request.get("Name")) or {}
    pattern = request.get("AllowedPattern") or stored.get("AllowedPattern")
    if pattern:
        try:
            found = re.search(pattern, str(request.get("Value", "")))
        except re.error as error:
            raise InvalidAllowedPattern(f"AllowedPattern {pattern!r} is no regular expression: {error}") from error
        if found is None:
            raise ParameterPatternMismatch(f"Parameter value, cannot be validated against allowedPattern: {pattern}")
    if stored and pattern and not request.get("AllowedPattern"):
        request = {**request, "AllowedPattern": pattern}
    return put(request)
