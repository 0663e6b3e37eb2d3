"""Publish what happens in a service without ever failing the service."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def never_raises(publish: Callable[P, None]) -> Callable[P, None]:
    """Log the errors of a function instead of raising them. Targets of EventBridge rules run users' code."""
    log = logging.getLogger(publish.__module__)

    @functools.wraps(publish)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            publish(*args, **kwargs)
        except Exception:  # boundary: what a service does goes on, whoever cannot be told about it
            log.exception("announcement failed", extra={"announcement": publish.__name__})

    return call
