"""ISO 8601 durations as FIS accepts them (`PT1M`, `PT1H30M`, `P1D`); pure."""

import re

from kit.local.fis.errors import InvalidRequest

# The quota on actions and experiments. AWS also asks for at least a minute; locally seconds are accepted, so
# that a game day fits into a test (docs/fidelity.md).
DURATION_S_MAX = 12 * 3600.0

_PATTERN = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def parse_duration_s(text: str) -> float:
    """Seconds; raises InvalidRequest when it is no duration, zero, or beyond twelve hours."""
    match = _PATTERN.fullmatch(text)
    if match is None or not any(match.groups()):
        raise InvalidRequest(f"duration {text!r} must be an ISO 8601 duration such as PT5M")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total_s = days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    if not 0 < total_s <= DURATION_S_MAX:
        raise InvalidRequest(f"duration {text!r} must be above zero and at most PT12H")
    return total_s
