"""Serve ECS: services, and tasks that are real processes."""

from kit.local.ecs.service import Ecs
from kit.local.ecs.tasks import Task
from kit.local.ecs.timing import Timing

__all__ = ["Ecs", "Task", "Timing"]
