"""Patch MiniStack's CloudWatch Logs: refuse the queries and the stacks that it accepts and then ignores."""

import re
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs
from ministack.services.cloudformation import provisioners

from kit.local.patching import Patches, require

# The stages of a Logs Insights query that MiniStack evaluates; it ignores all others and answers without them.
INSIGHTS_FIELDS = frozenset({"@timestamp", "@message", "@logStream", "@log", "@ptr", "@ingestionTime"})
INSIGHTS_SORT = re.compile(r"(?i)sort\s+@\w+(\s+(asc|desc))?\s*")
INSIGHTS_LIMIT = re.compile(r"(?i)limit\s+\d+\s*")
METRIC_FILTER_TYPE = "AWS::Logs::MetricFilter"

Answer = tuple[int, dict[str, str], bytes]


def install(patches: Patches) -> None:
    """Patch MiniStack's CloudWatch Logs and its CloudFormation type for metric filters."""
    require(cloudwatch_logs, "_split_insights_pipes", "_compile_insights_filter")
    patches.wrap(cloudwatch_logs, "_start_query", _start_query)
    # CloudFormation then refuses the stack and names the type.
    patches.remove_entry(provisioners, "_RESOURCE_HANDLERS", METRIC_FILTER_TYPE)


def _start_query(start_query: Any, request: dict[str, Any]) -> Answer:
    for stage in cloudwatch_logs._split_insights_pipes(request.get("queryString", "")):
        if not _is_evaluated(stage):
            message = f"the local AWS does not evaluate the Logs Insights stage {stage.strip()!r}"
            return error_response_json("MalformedQueryException", message, 400)
    return start_query(request)


def _is_evaluated(stage: str) -> bool:
    command, _, rest = stage.strip().partition(" ")
    if command.lower() == "filter":
        return cloudwatch_logs._compile_insights_filter(stage) is not None
    if command.lower() == "fields":
        return {name.strip() for name in rest.split(",")} <= INSIGHTS_FIELDS
    return bool(INSIGHTS_SORT.fullmatch(stage.strip()) or INSIGHTS_LIMIT.fullmatch(stage.strip()))
