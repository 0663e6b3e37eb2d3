"""Values of action parameters: every one is a string on the wire; this says which strings a kind accepts.

Pure; knows the kinds that `catalog.py` uses.
"""

from collections.abc import Callable, Mapping

from kit.local.fis.catalog import ActionSpec
from kit.local.fis.durations import parse_duration_s
from kit.local.fis.errors import InvalidRequest


def check_parameters(where: str, spec: ActionSpec, given: Mapping[str, str]) -> None:
    """Raise unless all required parameters are there, none is unknown and each value fits its kind."""
    for name, parameter in spec.parameters.items():
        if parameter.required and name not in given:
            raise InvalidRequest(f"{where}: {spec.id} requires the parameter {name}")
    for name, value in given.items():
        parameter = spec.parameters.get(name)
        if parameter is None:
            raise InvalidRequest(f"{where}: {spec.id} has no parameter {name}")
        _check(f"{where}: parameter {name}={value!r}", parameter.kind, value)


def split_list(value: str) -> list[str]:
    """The items of a comma-separated parameter."""
    return [item for item in (part.strip() for part in value.split(",")) if item]


def _check(what: str, kind: str, value: str) -> None:
    if "|" in kind:
        if value not in kind.split("|"):
            raise InvalidRequest(f"{what} must be one of {', '.join(kind.split('|'))}")
        return
    _KINDS[kind](what, value)


def _whole(low: int, high: int | None) -> Callable[[str, str], None]:
    def check(what: str, value: str) -> None:
        if not value.isdigit() or int(value) < low or (high is not None and int(value) > high):
            limits = f"within {low} and {high}" if high is not None else f"at least {low}"
            raise InvalidRequest(f"{what} must be a whole number {limits}")

    return check


def _decimal(what: str, value: str) -> None:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise InvalidRequest(f"{what} must be a number within 0 and 100")


def _boolean(what: str, value: str) -> None:
    if value not in ("true", "false"):
        raise InvalidRequest(f"{what} must be true or false")


def _duration(what: str, value: str) -> None:
    try:
        parse_duration_s(value)
    except InvalidRequest as error:
        raise InvalidRequest(f"{what}: {error}") from error


def _text(what: str, value: str) -> None:
    if not value.strip():
        raise InvalidRequest(f"{what} must not be empty")


def _list(what: str, value: str) -> None:
    if not split_list(value):
        raise InvalidRequest(f"{what} must be a comma-separated list")


def _arn(what: str, value: str) -> None:
    if not value.startswith("arn:"):
        raise InvalidRequest(f"{what} must be an ARN")


def _arns(what: str, value: str) -> None:
    arns = split_list(value)
    if not 1 <= len(arns) <= ALARM_ARNS_MAX or not all(arn.startswith("arn:") for arn in arns):
        raise InvalidRequest(f"{what} must be 1 to {ALARM_ARNS_MAX} comma-separated ARNs")


ALARM_ARNS_MAX = 5

_KINDS: Mapping[str, Callable[[str, str], None]] = {
    "arn": _arn,
    "arns": _arns,
    "boolean": _boolean,
    "count": _whole(0, None),
    "decimal": _decimal,
    "duration": _duration,
    "list": _list,
    "milliseconds": _whole(0, 600_000),
    "percent": _whole(0, 100),
    "port": _whole(1, 65_535),
    "text": _text,
}
