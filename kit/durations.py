"""Read ISO 8601 durations such as `PT1M`, `PT1H30M` or `P1D`."""

import re

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII)


def duration_s(text: str) -> float | None:
    """Return the seconds of a duration, or None when the text is not one. Years, months and weeks are not read."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds
