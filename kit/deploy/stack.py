"""Create a stack, wait until it is ready, delete it, and explain a failure by events and logs of its tasks."""

from __future__ import annotations

import http.client
import time
import urllib.error
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from kit.aws.client_errors import ClientSource, cloud_errors, error_code
from kit.aws.loopback import open_url
from kit.deploy import template_upload
from kit.errors import CloudError, DeployFailed, KitError, UnsafeTarget, UsageError
from kit.model import Deployment

STACK_PREFIX = "gameday-"
ALLOWED_TAG = ("GameDay", "allowed")
RUN_TAG = "RunId"
ENV_TAG = "Env"
PROTECTED_ENV = "prod"
# The template's default of EnvName.
ENV_DEFAULT = "gameday"
POLL_S = 0.25
# The first polls are fast, for the local AWS. Slower polls avoid throttling on AWS.
POLL_S_MAX = 2.0
READY_TIMEOUT_S = 2
TEAR_DOWN_S_MAX = 900
LOG_LINES = 8
BUCKET_TYPE = "AWS::S3::Bucket"
CLUSTER_TYPE = "AWS::ECS::Cluster"
SERVICE_GROUP = "service:"  # how the group of a task begins that a service runs
STACK_TYPE = "AWS::CloudFormation::Stack"
STOPPED = "STOPPED"
STOPPED_TASKS_SHOWN = 3
SERVICE_OUTPUTS = ("ApiServiceName", "MatcherServiceName", "RelayServiceName")
# The outputs that the readiness check needs.
NEEDED_OUTPUTS = (*SERVICE_OUTPUTS, "ApiUrl", "ClusterName", "TargetGroupArn")


class StackRefused(DeployFailed):
    """CloudFormation refused the call. No stack of this run was created, so none may be deleted."""


def deploy(
    session: ClientSource,
    *,
    image_uri: str,
    run_id: str,
    template: Path,
    parameters: Mapping[str, str],
    timeout_s: float,
) -> Deployment:
    """Create the stack of a run and wait until all its tasks serve.

    If anything else ends the wait, the stack is deleted. Raises UnsafeTarget for a production environment, and
    DeployFailed with the first failed resource, its reason, and the last log lines of stopped tasks.
    """
    values = {**parameters, "ImageUri": image_uri, "RunId": run_id}
    _refuse_production(values)
    stack_name = f"{STACK_PREFIX}{run_id}"
    body = _body(template)
    deadline = time.monotonic() + timeout_s
    with cloud_errors(f"stack {stack_name}"):
        try:
            _create(session, stack_name, body, values)
            outputs = _wait_created(session, stack_name, deadline)
            deployment = _deployment(stack_name, run_id, outputs)
            _wait_ready(session, deployment, deadline)
        except StackRefused:
            raise
        except BaseException as error:
            # Ctrl-C ends up here, too. The caller has no Deployment yet, so it could not delete the stack.
            _delete_failed(session, stack_name, error)
            raise
    return deployment


def create_stack(
    session: ClientSource, stack_name: str, *, template: Path, parameters: Mapping[str, str], timeout_s: float
) -> dict[str, str]:
    """Create another stack of a run, wait until it is complete, and return its outputs.

    `parameters` hold its RunId. If anything ends the wait, the stack is deleted. Raises as `deploy` does.
    """
    _refuse_production(parameters)
    body = _body(template)
    deadline = time.monotonic() + timeout_s
    with cloud_errors(f"stack {stack_name}"):
        try:
            _create(session, stack_name, body, parameters)
            return _wait_created(session, stack_name, deadline)
        except StackRefused:
            raise
        except BaseException as error:
            _delete_failed(session, stack_name, error)
            raise


def tear_down(session: ClientSource, stack_name: str, timeout_s: float = TEAR_DOWN_S_MAX) -> None:
    """Delete a stack, if it exists, and the bucket of its template, and wait until the stack is deleted.

    Raises UnsafeTarget if the stack is not tagged as a game day's, and CloudError if it still exists after `timeout_s`.
    """
    cloudformation = session.client("cloudformation")
    with cloud_errors(f"deleting stack {stack_name}"):
        stack = _describe(cloudformation, stack_name)
        if stack is not None:
            _refuse_untagged(stack_name, _tags(stack))
        for bucket in template_upload.find_buckets(session, stack_name):
            template_upload.delete_bucket(session, bucket)
        if stack is None:
            return
        deadline = time.monotonic() + timeout_s
        _stop_tasks(session, stack_name, deadline)
        _empty_buckets(session, stack_name)
        # A deleted stack can be described by its id, not by its name.
        cloudformation.delete_stack(StackName=stack["StackId"])
        for _ in _polls(deadline):
            stack = _describe(cloudformation, stack["StackId"])
            if stack is None or stack["StackStatus"] == "DELETE_COMPLETE":
                return
            if stack["StackStatus"] == "DELETE_FAILED":
                raise CloudError(f"stack {stack_name} could not be deleted: {_first_failure(cloudformation, stack)}")
    raise CloudError(f"stack {stack_name} is {stack['StackStatus']}, not gone within {timeout_s:g} s")


def _stop_tasks(session: ClientSource, stack_name: str, deadline: float) -> None:
    """Stop the tasks in the stack's clusters that no service runs, and wait until they have stopped.

    ECS deletes only clusters without tasks, and a task may take its stop timeout.
    """
    ecs = session.client("ecs")
    for cluster in _resources_of(session, stack_name, CLUSTER_TYPE):
        for _ in _polls(deadline):
            single = [task for task in _tasks(ecs, cluster) if not task.get("group", "").startswith(SERVICE_GROUP)]
            alive = [task for task in single if task["lastStatus"] != STOPPED]
            if not alive:
                break
            for task in alive:
                if task["desiredStatus"] != STOPPED:
                    ecs.stop_task(cluster=cluster, task=task["taskArn"], reason="the stack is deleted")


def _tasks(ecs: Any, cluster: str) -> Iterator[Mapping[str, Any]]:
    """Yield the tasks of a cluster, also those that are stopping or have stopped."""
    for desired in ("RUNNING", STOPPED):
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=desired):
            # A page has at most a hundred, as many as one call may name.
            if arns := page["taskArns"]:
                yield from ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]


def _empty_buckets(session: ClientSource, stack_name: str) -> None:
    """Delete all objects in the stack's buckets, because CloudFormation deletes only empty ones."""
    s3 = session.client("s3")
    for bucket in _resources_of(session, stack_name, BUCKET_TYPE):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            if keys := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


def _resources_of(session: ClientSource, stack_name: str, resource_type: str) -> list[str]:
    """Return the ids of the stack's resources of a type."""
    found = session.client("cloudformation").describe_stack_resources(StackName=stack_name)["StackResources"]
    mine = [one for one in found if one["ResourceType"] == resource_type and one["ResourceStatus"] != "DELETE_COMPLETE"]
    return [one["PhysicalResourceId"] for one in mine if one.get("PhysicalResourceId")]


def find_stacks(session: ClientSource, *, run_id: str | None = None) -> list[str]:
    """Return the names of existing game day stacks, of one run or of all (leak check)."""
    with cloud_errors("listing stacks"):
        pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
        found = [(stack["StackName"], _tags(stack)) for page in pages for stack in page["Stacks"] if _exists(stack)]
    key, value = ALLOWED_TAG
    return [name for name, tags in found if tags.get(key) == value and run_id in (None, tags.get(RUN_TAG))]


def find_buckets(session: ClientSource, *, run_id: str) -> list[str]:
    """Return the names of existing template buckets of a run, which the run should have deleted (leak check)."""
    return template_upload.find_buckets(session, f"{STACK_PREFIX}{run_id}")


def _body(template: Path) -> str:
    try:
        body = template.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"template {template} cannot be read: {error.strerror or error}") from error
    size, limit = len(body.encode()), template_upload.TEMPLATE_BYTES_MAX
    if size > limit:
        raise UsageError(f"template {template.name} has {size} bytes > {limit}")
    return body


def _refuse_production(values: Mapping[str, str]) -> None:
    env = values.get("EnvName", "")
    if env.lower().startswith(PROTECTED_ENV):
        raise UnsafeTarget(f"EnvName={env!r}: game days never run in {PROTECTED_ENV}")


def _refuse_untagged(stack_name: str, tags: Mapping[str, str]) -> None:
    key, value = ALLOWED_TAG
    if tags.get(key) != value:
        raise UnsafeTarget(f"stack {stack_name} has no tag {key}={value}")


def _create(session: ClientSource, stack_name: str, body: str, values: Mapping[str, str]) -> None:
    # CloudFormation copies these tags to every resource. Experiments select their targets by them.
    env = values.get("EnvName", ENV_DEFAULT)
    tags = {**dict([ALLOWED_TAG]), RUN_TAG: values["RunId"], ENV_TAG: env, "App": "PaperBroker"}
    with template_upload.template_source(session, stack_name, body, tags) as source:
        try:
            session.client("cloudformation").create_stack(
                StackName=stack_name,
                **source,
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
                Capabilities=["CAPABILITY_IAM"],
                # A rollback would delete the logs. They are read first, then the stack is deleted.
                OnFailure="DO_NOTHING",
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        except ClientError as error:
            if error_code(error) == "AlreadyExistsException":
                raise StackRefused(f"stack {stack_name} exists already: a run id can be used once") from error
            raise StackRefused(f"stack {stack_name} was refused: {error}") from error


def _wait_created(session: ClientSource, stack_name: str, deadline: float) -> dict[str, str]:
    cloudformation = session.client("cloudformation")
    status = "unknown"
    for _ in _polls(deadline):
        stack = _describe(cloudformation, stack_name)
        if stack is None:
            raise DeployFailed(f"stack {stack_name} disappeared while it was created")
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if status != "CREATE_IN_PROGRESS":
            failure = _first_failure(cloudformation, stack)
            raise DeployFailed(
                f"stack {stack_name} is {status}: {failure}{_logs_of_stopped_tasks(session, stack_name)}"
            )
    raise DeployFailed(
        f"stack {stack_name} is still {status} at its deadline{_logs_of_stopped_tasks(session, stack_name)}"
    )


def _deployment(stack_name: str, run_id: str, outputs: dict[str, str]) -> Deployment:
    missing = [name for name in NEEDED_OUTPUTS if name not in outputs]
    if missing:
        raise DeployFailed(f"stack {stack_name} has no output {missing[0]}")
    return Deployment(stack_name=stack_name, run_id=run_id, api_url=outputs["ApiUrl"], outputs=outputs)


def _wait_ready(session: ClientSource, deployment: Deployment, deadline: float) -> None:
    missing = "not checked"
    for _ in _polls(deadline):
        missing = _not_ready(session, deployment)
        if not missing:
            return
    logs = _logs_of_stopped_tasks(session, deployment.stack_name)
    raise DeployFailed(f"stack {deployment.stack_name} is created but not ready: {missing}{logs}")


def _not_ready(session: ClientSource, deployment: Deployment) -> str:
    """Return what is missing; "" if all tasks run, all targets are healthy and the API reports ready."""
    outputs = deployment.outputs
    names = [outputs[key] for key in SERVICE_OUTPUTS]
    answer = session.client("ecs").describe_services(cluster=outputs["ClusterName"], services=names)
    for service in answer["services"]:
        settled = len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"]
        if not settled:
            return f"service {service['serviceName']} runs {service['runningCount']} of {service['desiredCount']}"
    if len(answer["services"]) < len(names):
        return f"only {len(answer['services'])} of {len(names)} services exist"
    targets = session.client("elbv2").describe_target_health(TargetGroupArn=outputs["TargetGroupArn"])
    states = [target["TargetHealth"]["State"] for target in targets["TargetHealthDescriptions"]]
    wanted = next(service["desiredCount"] for service in answer["services"] if service["serviceName"] == names[0])
    if states.count("healthy") < wanted:
        return f"{states.count('healthy')} of {wanted} targets are healthy"
    return _not_ok(f"{deployment.api_url}/readyz")


def _not_ok(url: str) -> str:
    """Return why the URL does not answer 200; "" if it does."""
    try:
        with open_url(url, timeout_s=READY_TIMEOUT_S) as answer:
            return "" if answer.status == 200 else f"{url} answers {answer.status}"
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        return f"{url}: {error}"


def _delete_failed(session: ClientSource, stack_name: str, error: BaseException) -> None:
    try:
        tear_down(session, stack_name)
    except KitError as deletion_error:
        error.add_note(f"and {deletion_error}")


def _polls(deadline: float) -> Iterator[None]:
    """Yield at least once and until the deadline, with growing pauses."""
    pause_s = POLL_S
    while True:
        yield
        if time.monotonic() + pause_s > deadline:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, POLL_S_MAX)


def _describe(cloudformation: Any, stack: str) -> dict[str, Any] | None:
    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise


def _exists(stack: Mapping[str, Any]) -> bool:
    return stack["StackStatus"] != "DELETE_COMPLETE"


def _tags(stack: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])}


def _first_failure(cloudformation: Any, stack: Mapping[str, Any]) -> str:
    """Return the resource that failed first and its reason. Later failures are mostly cancellations because of it."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack["StackId"])
    events = [event for page in pages for event in page["StackEvents"]]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return stack.get("StackStatusReason", "no reason given")
    # Events of the stack itself come last, because they only report that a resource failed.
    event = min(failed, key=lambda event: (event["ResourceType"] == STACK_TYPE, event["Timestamp"]))
    return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"


def _logs_of_stopped_tasks(session: ClientSource, stack_name: str) -> str:
    """Return why tasks stopped and their last log lines; "" if none stopped. Raises no CloudError."""
    try:
        with cloud_errors("logs of stopped tasks"):
            resources = _resources(session.client("cloudformation"), stack_name)
            if "Cluster" not in resources:
                return ""
            stopped = _stopped_tasks(session.client("ecs"), resources["Cluster"])
            return "".join(_log_of(session, resources.get("LogGroup", ""), task) for task in stopped)
    except CloudError as error:
        return f"\n  (no logs: {error})"


def _resources(cloudformation: Any, stack_name: str) -> dict[str, str]:
    found = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    return {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in found if item.get("PhysicalResourceId")}


def _stopped_tasks(ecs: Any, cluster: str) -> Sequence[Mapping[str, Any]]:
    arns = ecs.list_tasks(cluster=cluster, desiredStatus=STOPPED)["taskArns"][:100]
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return tasks[:STOPPED_TASKS_SHOWN]


def _log_of(session: ClientSource, group: str, task: Mapping[str, Any]) -> str:
    container = task["containers"][0]
    task_id = task["taskArn"].rsplit("/", 1)[1]
    reason = f"\n  task {container['name']}/{task_id[:8]} stopped: {task.get('stoppedReason', 'no reason given')}"
    try:
        events = session.client("logs").get_log_events(
            logGroupName=group, logStreamName=f"paperbroker/{container['name']}/{task_id}", limit=LOG_LINES
        )["events"]
    except ClientError as error:
        return f"{reason} ({error_code(error)})"
    return reason + "".join(f"\n    {event['message'].rstrip()}" for event in events)
