"""Epoch seconds as CloudWatch takes them."""

import datetime as dt


def moment(epoch_s: float) -> dt.datetime:
    """In UTC."""
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC)
