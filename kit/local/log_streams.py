"""Write to log streams of CloudWatch Logs as AWS's own services do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch_logs

from kit.errors import KitError

log = logging.getLogger(__name__)

# CloudWatch accepts 256 KiB per event, less 26 bytes of overhead.
LINE_BYTES_MAX = 256 * 1024 - 26
# MiniStack keeps events for ever. A long run would exhaust the memory, so a stream drops its oldest events.
STREAM_EVENTS_MAX = 20_000


class LogGroupMissing(KitError):
    """The log group does not exist, and may not be created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStream:
    """One log stream."""

    account: str
    region: str
    group: str
    stream: str
    create_group: bool = False

    def create(self) -> None:
        """Create the stream if it does not exist. Raises LogGroupMissing."""
        with request_scope(self.account, self.region):
            groups = cloudwatch_logs._log_groups
            if self.group not in groups and self.create_group:
                cloudwatch_logs._create_log_group({"logGroupName": self.group})
            if self.group not in groups:
                raise LogGroupMissing(f"The specified log group does not exist: {self.group}")
            if self.stream not in groups[self.group]["streams"]:
                cloudwatch_logs._create_log_stream({"logGroupName": self.group, "logStreamName": self.stream})

    def put(self, events: list[dict[str, Any]]) -> None:
        """Append events. They are lost if the group or stream was deleted meanwhile, as on AWS."""
        with request_scope(self.account, self.region):
            status, _, body = cloudwatch_logs._put_log_events(
                {"logGroupName": self.group, "logStreamName": self.stream, "logEvents": events}
            )
            if status >= 400:
                log.info("log events refused", extra={"stream": self.stream, "answer": body[:200]})
                return
            self._trim(cloudwatch_logs._log_groups[self.group]["streams"][self.stream])

    @staticmethod
    def _trim(stream: dict[str, Any]) -> None:
        excess = len(stream["events"]) - STREAM_EVENTS_MAX
        if excess > 0:
            for event in stream["events"][:excess]:
                cloudwatch_logs._log_records.pop(event.get("eventId"), None)
            del stream["events"][:excess]
