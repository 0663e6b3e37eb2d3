"""List the operations of Step Functions by their names."""

from __future__ import annotations

from collections.abc import Mapping

from kit.local.stepfunctions import (
    operations_activities,
    operations_executions,
    operations_machines,
    operations_versions,
)
from kit.local.stepfunctions.api_call import Operation

OPERATIONS: Mapping[str, Operation] = {
    **operations_machines.OPERATIONS,
    **operations_versions.OPERATIONS,
    **operations_executions.OPERATIONS,
    **operations_activities.OPERATIONS,
}
