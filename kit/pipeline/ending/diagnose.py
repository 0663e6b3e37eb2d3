"""Collect why a run did not pass, while its stack still stands, and put it into words for an OpsItem and a message.

Input: {"run_id", "execution"}, and "error": {"Error", "Cause"} if the run could not be judged.
Output: {"verdict", "cause", "title", "source", "description", "data", "reason", "subject", "message"}, and
Output: {"verdict", "cause", "title", "source", "description", "data", "reason", "subject", "message"}, and
`diagnostics.json` beside the run's other results. What cannot be read is unknown; it never ends the function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
PLAN, JUDGED, DIAGNOSTICS, REPORT = "plan.json", "judged.json", "diagnostics.json", "report.html"
SOURCE = "gameday-pipeline"
STOPPED_TASKS_MAX = 10
LOG_LINES_MAX = 50
# Limits of OpsCenter and of an SNS subject; the message is for a chat.
TITLE_CHARS_MAX, DESCRIPTION_CHARS_MAX, SUBJECT_CHARS_MAX, MESSAGE_CHARS_MAX = 100, 2_000, 99, 700
DATA_CHARS_MAX = 1_000
INVALID, SEARCHABLE = "INVALID", "SearchableString"
# OpsCenter refuses a second open OpsItem with the same text.
DEDUP = "/aws/dedup"
JSON_BYTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """What the function calls, replaced in tests."""

    s3: Any
    ecs: Any
    logs: Any
    cloudwatch: Any
    bucket: str


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run in AWS Lambda."""
    return diagnose(event, aws_of_environment())


def aws_of_environment() -> Aws:
    """Return the services that the environment of the function names."""
    s3, ecs, logs, cloudwatch = (boto3.client(name, config=CONFIG) for name in ("s3", "ecs", "logs", "cloudwatch"))
    return Aws(s3=s3, ecs=ecs, logs=logs, cloudwatch=cloudwatch, bucket=os.environ["ARTIFACTS_BUCKET"])


def diagnose(event: Mapping[str, Any], aws: Aws) -> dict[str, Any]:
    """Collect the diagnostics of one run, keep them in S3, and say what happened."""
    run_id, execution = str(event["run_id"]), str(event.get("execution", ""))
    plan, judged = _object(aws, run_id, PLAN), _object(aws, run_id, JUDGED)
    outputs = (plan or {}).get("deployment", {}).get("outputs", {})
    diagnostics = {
        "run_id": run_id,
        "execution": execution,
        "error": event.get("error"),
        "verdict": judged,
        "stopped_tasks": _known(lambda: _stopped_tasks(aws, outputs["ClusterName"])),
        "log": _known(lambda: _log(aws, outputs["LogGroupName"])),
        "alarms": _known(lambda: _alarms(aws, outputs["GuardrailAlarms"])),
    }
    body = json.dumps(diagnostics, default=str).encode()
    aws.s3.put_object(Bucket=aws.bucket, Key=f"{run_id}/{DIAGNOSTICS}", Body=body, ContentType="application/json")
    links = _links(aws, run_id, execution, outputs)
    return worded(run_id, plan or {}, judged, event.get("error"), links)


def worded(
    run_id: str,
    plan: Mapping[str, Any],
    judged: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
    links: Mapping[str, str],
) -> dict[str, Any]:
    """Put a run that did not pass into words. One title stands for one cause, whatever run it was found in."""
    scenario = plan.get("facts", {}).get("scenario", "unknown scenario")
    change = plan.get("facts", {}).get("change", "")
    verdict, cause, reasons = _outcome(judged, error)
    prefix = f"Game day {scenario}: "
    title = f"{prefix}{verdict}: {cause}"[:TITLE_CHARS_MAX]
    build = f"change {change}" if change else "the tree as it is"
    first = reasons[0] if reasons else "no reason was recorded"
    shown = "\n".join(
        [f"Run {run_id}, {build}: {verdict}.", *reasons, *(f"{name}: {at}" for name, at in links.items())]
    )
    dedup = {"Value": json.dumps({"dedupString": title}), "Type": SEARCHABLE}
    data = {name: {"Value": at[:DATA_CHARS_MAX], "Type": SEARCHABLE} for name, at in links.items()}
    return {
        "verdict": verdict,
        "cause": cause,
        "title": title,
        "source": SOURCE,
        "description": shown[:DESCRIPTION_CHARS_MAX],
        "data": {**data, "run": {"Value": run_id, "Type": SEARCHABLE}, DEDUP: dedup},
        "reason": first,
        "subject": title.encode("ascii", "replace").decode()[:SUBJECT_CHARS_MAX],
        "message": f"{title} (run {run_id}, {build})\n{first}\n{links.get('report', '')}"[:MESSAGE_CHARS_MAX],
    }


def _outcome(judged: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> tuple[str, str, list[str]]:
    """Return verdict, cause and reasons. A run that nobody judged is INVALID."""
    if judged:
        return judged["verdict"], judged["cause"], list(judged["reasons"])
    if error:
        name, cause = str(error.get("Error", "unknown error")), " ".join(str(error.get("Cause", "")).split())
        return INVALID, name, [f"the run was not judged: {name}: {cause}"]
    return INVALID, "not judged", ["the run was not judged"]


def _links(aws: Aws, run_id: str, execution: str, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return where to look, as AWS names it: objects in S3, ARNs and names of resources."""
    links = {
        "report": f"s3://{aws.bucket}/{run_id}/{REPORT}",
        "experiment": f"s3://{aws.bucket}/{run_id}/fis-experiment.json",
        "diagnostics": f"s3://{aws.bucket}/{run_id}/{DIAGNOSTICS}",
        "execution": execution,
        "logs": outputs.get("LogGroupName", ""),
        "dashboard": outputs.get("DashboardName", ""),
    }
    return {name: at for name, at in links.items() if at}


def _known(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ClientError, BotoCoreError, KeyError) as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


def _object(aws: Aws, run_id: str, name: str) -> dict[str, Any] | None:
    try:
        answer = aws.s3.get_object(Bucket=aws.bucket, Key=f"{run_id}/{name}")
        value = json.loads(answer["Body"].read(JSON_BYTES_MAX))
    except (ClientError, BotoCoreError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _stopped_tasks(aws: Aws, cluster: str) -> list[dict[str, Any]]:
    arns = aws.ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"][:STOPPED_TASKS_MAX]
    tasks = aws.ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    names = ("taskArn", "group", "availabilityZone", "stopCode", "stoppedReason", "stoppedAt")
    return [{name: task.get(name) for name in names} for task in tasks]


def _log(aws: Aws, group: str) -> list[str]:
    events = aws.logs.filter_log_events(
        logGroupName=group, filterPattern="?ERROR ?error ?Traceback", limit=LOG_LINES_MAX
    )
    return [one["message"].rstrip() for one in events["events"]]


def _alarms(aws: Aws, names: str) -> dict[str, str]:
    found = aws.cloudwatch.describe_alarms(AlarmNames=[name for name in names.split(",") if name])["MetricAlarms"]
    return {alarm["AlarmName"]: f"{alarm['StateValue']}: {alarm.get('StateReason', '')}" for alarm in found}
