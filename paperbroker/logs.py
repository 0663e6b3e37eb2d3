"""Structured logs: one JSON object per line on standard output, with a constant event name and fields.

Every line carries the run id and the component; a request's lines carry its trace id.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any


class Log:
    """Log events with fields that every line carries."""

    def __init__(self, logger: logging.Logger, **bound: str) -> None:
        self._logger = logger
        self._bound = bound

    def debug(self, event: str, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log an error with the traceback of the current exception."""
        self._logger.error(event, exc_info=True, extra={"fields": {**self._bound, **fields}})

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": {**self._bound, **fields}})


class _JsonLines(logging.Formatter):
    """Format records as JSON lines, also those of libraries, which have no fields."""

    def __init__(self, bound: dict[str, str]) -> None:
        super().__init__()
        self._bound = bound

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "t": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            **(getattr(record, "fields", None) or {"logger": record.name, **self._bound}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, **bound: str) -> Log:
    """Send everything to standard output as JSON lines; PaperBroker's from `level` on, libraries' from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines(bound))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger = logging.getLogger("paperbroker")
    logger.setLevel(level)
    return Log(logger, **bound)
