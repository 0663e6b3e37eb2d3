"""Check the conditions of rules, and complete them with the members that AWS describes."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kit.local.alb.wire import RequestRefused

FIELDS = ("path-pattern", "host-header", "http-header", "http-request-method", "query-string", "source-ip")
# Fields whose values may stand in `Values`, as before the `…Config` members existed.
_FLAT = {"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig"}
_CONFIGS = {
    **_FLAT,
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
_ONCE = ("host-header", "http-request-method", "path-pattern", "source-ip")
VALUES_MAX = 5
WILDCARDS_MAX = 6
LENGTH_MAX = 128
NAME_LENGTH_MAX = 40

Condition = dict[str, Any]


def completed(given: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """Return the conditions as AWS describes them. Raises RequestRefused."""
    if not given:
        raise RequestRefused("ValidationError", "A condition must be specified")
    found = [_completed(condition) for condition in given]
    counts = Counter(condition["Field"] for condition in found)
    if twice := [field for field in _ONCE if counts[field] > 1]:
        raise _invalid(f"A rule can only have one '{twice[0]}' condition")
    texts = [text for condition in found for text in _texts(condition)]
    if len(texts) > VALUES_MAX:
        raise _invalid(f"A rule can only have '{VALUES_MAX}' condition values")
    if sum(text.count("*") + text.count("?") for text in texts) > WILDCARDS_MAX:
        raise _invalid(f"A rule can only have '{WILDCARDS_MAX}' wildcards in its condition values")
    return found


def _completed(condition: Mapping[str, Any]) -> Condition:
    field = condition.get("Field", "")
    if field not in FIELDS:
        raise _invalid(f"Condition field '{field}' must be one of '[{','.join(FIELDS)}]'")
    config_name = _CONFIGS[field]
    config = condition.get(config_name)
    if other := [name for name in (*_CONFIGS.values(), "RegexValues") if name in condition and name != config_name]:
        raise _invalid(f"The '{other[0]}' field is not compatible with '{field}'")
    if "Values" in condition and field not in _FLAT:
        raise _invalid(f"The 'Values' field is not compatible with '{field}'")
    if "RegexValues" in (config or {}):
        raise RequestRefused.not_served(f"RegexValues of '{field}'", "match regular expressions")
    if config is None and field not in _FLAT:
        raise _invalid(f"A '{config_name}' must be specified with '{field}'")
    if config is not None and "Values" in condition:
        raise _invalid(f"A '{field}' condition cannot have both 'Values' and '{config_name}'")
    if config is None:
        config = {"Values": list(condition.get("Values") or [])}
        if len(config["Values"]) > 1:
            raise _invalid(f"The '{field}' field contains too many values; the limit is '1'")
    _CHECKS[field](config)
    flat = {"Values": list(config["Values"])} if field in _FLAT else {}
    return {"Field": field, **flat, config_name: dict(config)}


def _check_values(field: str) -> Callable[[Mapping[str, Any]], None]:
    def check(config: Mapping[str, Any]) -> None:
        if not config.get("Values"):
            raise _invalid("A condition value must be specified")
        for value in config["Values"]:
            _check_length(field, value, LENGTH_MAX)

    return check


def _check_header(config: Mapping[str, Any]) -> None:
    name = config.get("HttpHeaderName") or ""
    if not name:
        raise _invalid("A 'HttpHeaderName' must be specified")
    _check_length("HttpHeaderName", name, NAME_LENGTH_MAX)
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise _invalid("The 'HttpHeaderName' value is invalid; the allowed characters are those of header names")
    _check_values("http-header")(config)


def _check_method(config: Mapping[str, Any]) -> None:
    if not config.get("Values"):
        raise _invalid("A condition value must be specified")
    for value in config["Values"]:
        _check_length("http-request-method", value, NAME_LENGTH_MAX)
        if not re.fullmatch("[A-Z_-]+", value):
            raise _invalid(
                "The 'http-request-method' value is invalid; the allowed characters are A-Z, hyphen and underscore"
            )


def _check_source(config: Mapping[str, Any]) -> None:
    if not config.get("Values"):
        raise _invalid("A 'source-ip' value must be specified")
    for value in config["Values"]:
        try:
            ipaddress.ip_network(value)
        except ValueError:
            raise _invalid(f"The 'source-ip' value '{value}' must be in CIDR notation") from None
        if "/" not in value:
            raise _invalid(f"The 'source-ip' value '{value}' must be in CIDR notation")


def _check_query(config: Mapping[str, Any]) -> None:
    if not config.get("Values"):
        raise _invalid("A condition value must be specified")
    for pair in config["Values"]:
        if not pair.get("Value"):
            raise _invalid("A 'Value' must be specified in 'QueryStringKeyValuePair'")
        for member in ("Key", "Value"):
            _check_length(member, pair.get(member, ""), LENGTH_MAX)


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "host-header": _check_values("host-header"),
    "path-pattern": _check_values("path-pattern"),
    "http-header": _check_header,
    "http-request-method": _check_method,
    "source-ip": _check_source,
    "query-string": _check_query,
}


def _check_length(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise _invalid(f"The '{what}' value is too long; the limit is '{most}'")


def _texts(condition: Condition) -> list[str]:
    values = condition[_CONFIGS[condition["Field"]]]["Values"]
    return [v if isinstance(v, str) else f"{v.get('Key', '')}={v['Value']}" for v in values]


def _invalid(message: str) -> RequestRefused:
    return RequestRefused("ValidationError", message)
