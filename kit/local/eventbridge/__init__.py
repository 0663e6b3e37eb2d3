"""EventBridge of the local AWS, and its Scheduler, whose schedules call any API that is served."""

from kit.local.eventbridge.service import Schedules

__all__ = ["Schedules"]
