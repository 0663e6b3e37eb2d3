"""Serve the operations on activities, and the callbacks of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from kit.local.stepfunctions.api_call import Call, Operation, Response
from kit.local.stepfunctions.errors import ApiError
from kit.local.stepfunctions.language.json_values import PAYLOAD_BYTES_MAX, parse_json, size_bytes
from kit.local.stepfunctions.machines import check_name, tags_of
from kit.local.stepfunctions.tasks.activities import take
from kit.local.stepfunctions.wire import page


def create_activity(call: Call) -> Response:
    name = check_name(call.request["name"])
    tags = tags_of(call.request.get("tags") or [])
    activity = call.engine.activities.create(call.arn("activity", name), name, call.now(), tags)
    return {"activityArn": activity.arn, "creationDate": activity.created_at}


def describe_activity(call: Call) -> Response:
    activity = call.engine.activities.get(call.request["activityArn"])
    return {
        "activityArn": activity.arn, "name": activity.name, "creationDate": activity.created_at,
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }  # fmt: skip


def delete_activity(call: Call) -> Response:
    call.engine.activities.delete(call.request["activityArn"])
    return {}


def list_activities(call: Call) -> Response:
    shown = [
        {"activityArn": each.arn, "name": each.name, "creationDate": each.created_at}
        for each in call.engine.activities.all(call.prefix)
    ]
    return page("activities", shown, call.request)


async def get_activity_task(call: Call) -> Response:
    activity = call.engine.activities.get(call.request["activityArn"])
    task = await take(activity, call.request.get("workerName", ""))
    return {} if task is None else {"taskToken": task.token, "input": task.input}


def send_task_success(call: Call) -> Response:
    text = call.request["output"]
    task = call.engine.callbacks.find(call.request["taskToken"])
    if size_bytes(text) > PAYLOAD_BYTES_MAX:
        raise ApiError("InvalidOutput", f"Invalid Output: more than {PAYLOAD_BYTES_MAX} bytes")
    try:
        output = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ApiError("InvalidOutput", f"Invalid Output: '{error}'") from error
    task.succeed(output)
    return {}


def send_task_failure(call: Call) -> Response:
    task = call.engine.callbacks.find(call.request["taskToken"])
    task.fail(call.request.get("error"), call.request.get("cause"))
    return {}


def send_task_heartbeat(call: Call) -> Response:
    call.engine.callbacks.find(call.request["taskToken"]).beat()
    return {}


OPERATIONS: Mapping[str, Operation] = {
    "CreateActivity": create_activity,
    "DescribeActivity": describe_activity,
    "DeleteActivity": delete_activity,
    "ListActivities": list_activities,
    "GetActivityTask": get_activity_task,
    "SendTaskSuccess": send_task_success,
    "SendTaskFailure": send_task_failure,
    "SendTaskHeartbeat": send_task_heartbeat,
}
