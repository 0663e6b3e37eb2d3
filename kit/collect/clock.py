"""Convert epoch seconds for calls to CloudWatch."""

import datetime as dt


def utc(epoch_s: float) -> dt.datetime:
    """Return the time as a datetime in UTC."""
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC)
