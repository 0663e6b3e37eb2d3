"""Values of action parameters: every one is a string; what each kind of `kit.fis_rules.catalog` accepts."""

import re
from collections.abc import Callable, Mapping

DURATION_S_MAX = 12 * 3600.0
DURATION_S_MIN = 60.0
ALARM_ARNS_MAX = 5
MILLISECONDS_MAX = 600_000

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration, None when it is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def accepted(kind: str, value: str) -> str:
    """Empty when the value fits its kind, else what would be accepted."""
    if "|" in kind:
        choices = kind.split("|")
        return "" if value in choices else f"one of {', '.join(choices)}"
    fits, words = _KINDS[kind]
    return "" if fits(value) else words


def _whole(low: int, high: int) -> Callable[[str], bool]:
    return lambda value: value.isascii() and value.isdigit() and low <= int(value[:12]) <= high


def _decimal(value: str) -> bool:
    return re.fullmatch(r"\d{1,3}(\.\d+)?", value) is not None and float(value) <= 100


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _arns(value: str) -> bool:
    return 1 <= len(_items(value)) <= ALARM_ARNS_MAX and all(item.startswith("arn:") for item in _items(value))


_KINDS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "arn": (lambda value: value.startswith("arn:"), "an ARN"),
    "arns": (_arns, f"1 to {ALARM_ARNS_MAX} ARNs with commas between"),
    "boolean": (lambda value: value in ("true", "false"), "true or false"),
    "count": (_whole(0, 10**11), "a whole number"),
    "decimal": (_decimal, "a number within 0 and 100"),
    "duration": (lambda value: duration_s(value) is not None, "an ISO 8601 duration such as PT5M"),
    "list": (lambda value: bool(_items(value)), "a list with commas between"),
    "milliseconds": (_whole(0, MILLISECONDS_MAX), f"a whole number within 0 and {MILLISECONDS_MAX}"),
    "percent": (_whole(0, 100), "a whole number within 0 and 100"),
    "port": (_whole(1, 65_535), "a whole number within 1 and 65535"),
    "text": (lambda value: bool(value.strip()), "a text that is not empty"),
}
