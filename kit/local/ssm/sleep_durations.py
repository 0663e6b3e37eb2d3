"""Compute how long aws:sleep sleeps: for an ISO 8601 duration, or until a timestamp."""

from __future__ import annotations

from datetime import UTC, datetime

from kit.durations import duration_s
from kit.errors import KitError

# AWS: 604799 s, a second less than seven days.
SLEEP_S_MAX = 604_799.0


class DurationInvalid(KitError):
    """The text is not an ISO 8601 duration or timestamp, or it exceeds the limit."""


def parse_duration_s(text: str) -> float:
    """Return the seconds of a duration such as `PT10M`. Zero is allowed, as on AWS."""
    seconds = duration_s(text)
    if seconds is None:
        raise DurationInvalid(f"Duration {text!r} must be an ISO 8601 duration such as PT10M")
    return _within_limit(seconds, text)


def until_timestamp_s(text: str, now: datetime) -> float:
    """Return the seconds until `2030-01-01T01:00:00Z`, zero for a past timestamp."""
    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise DurationInvalid(f"Timestamp {text!r} must be an ISO 8601 timestamp: {error}") from error
    aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return _within_limit(max(0.0, (aware - now).total_seconds()), text)


def _within_limit(seconds: float, text: str) -> float:
    if seconds > SLEEP_S_MAX:
        raise DurationInvalid(f"{text!r} is {seconds:g} s, more than {SLEEP_S_MAX:g} s")
    return seconds
