"""The local ECS: services and tasks as real processes.

`Scheduler` is the room's door; `Task` is what other rooms (faults, load balancer, front) see of a task.
"""

from kit.local.ecs.service import Scheduler
from kit.local.ecs.tasks import Task
from kit.local.ecs.timing import Timing

__all__ = ["Scheduler", "Task", "Timing"]
