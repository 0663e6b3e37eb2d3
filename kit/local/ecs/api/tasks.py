"""Answer the ECS operations on tasks."""

from __future__ import annotations

from ministack.core.responses import get_account_id, get_region

from kit.local.ecs import wire
from kit.local.ecs.api import scope, service_rules
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Status
from kit.local.ecs.timing import DESCRIBE_MAX, RUN_TASK_COUNT_MAX
from kit.local.ecs.wire import Reply, Request, RequestRefused, invalid, is_true, not_served

NO_EXECUTE = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn't running. Wait and try again or run a new task with execute command enabled and try again."
)


class Tasks:
    """The operations on tasks of one scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def run_task(self, request: Request) -> Reply:
        """Answer RunTask."""
        cluster = scope.cluster_of(request)
        definition = wire.task_definition(request.get("taskDefinition") or "")
        count = 1 if request.get("count") is None else int(request["count"])
        if not 1 <= count <= RUN_TASK_COUNT_MAX:
            raise invalid(f"Count must be between 1 and {RUN_TASK_COUNT_MAX}, but is {count}.")
        launch_type = service_rules.launch_type(request, definition)
        network, overrides = request.get("networkConfiguration"), request.get("overrides")
        service_rules.check_network(network, definition)
        service_rules.check_overrides(overrides, definition)
        service_rules.check_group(request.get("group") or "")
        if launch_type != "FARGATE":
            raise invalid("No Container Instances were found in your cluster.")
        if request.get("propagateTags") == "SERVICE":
            raise invalid("Tags cannot be propagated from a service to a task that no service runs.")
        tags = wire.tags(wire.checked_tags(request.get("tags")))
        if request.get("propagateTags") == "TASK_DEFINITION":
            tags = definition["_tags"] | tags
        if is_true(request.get("enableECSManagedTags")):
            tags["aws:ecs:clusterName"] = cluster
        subnets = wire.subnets(network)
        used: list[str] = []
        tasks = []
        for _ in range(count):
            task = self._scheduler.launch(
                definition=definition,
                account=get_account_id(),
                region=get_region(),
                cluster=cluster,
                subnets=subnets,
                used=used,
                tags=tags,
                overrides=overrides,
                group=request.get("group") or f"family:{definition['family']}",
                started_by=request.get("startedBy") or "",
                launch_type=launch_type,
                enable_execute=is_true(request.get("enableExecuteCommand")),
            )
            used.append(task.subnet.id)
            tasks.append(task.describe())
        return {"tasks": tasks, "failures": []}

    def stop_task(self, request: Request) -> Reply:
        """Answer StopTask."""
        task = scope.find_task(self._scheduler, scope.cluster_of(request), request.get("task") or "")
        if task is None:
            raise invalid("The referenced task was not found.")
        self._scheduler.stop_task(task.arn, request.get("reason") or "Task stopped by user")
        return {"task": task.describe()}

    def describe_tasks(self, request: Request) -> Reply:
        """Answer DescribeTasks."""
        cluster = scope.cluster_of(request)
        found, failures = [], []
        for reference in scope.counted(request, "tasks", what="Tasks", most=DESCRIBE_MAX):
            task = scope.find_task(self._scheduler, cluster, reference)
            if task is None:
                failures.append({"arn": scope.task_arn(cluster, reference), "reason": "MISSING"})
                continue
            record = task.describe()
            if "TAGS" not in (request.get("include") or []):
                record["tags"] = []
            found.append(record)
        return {"tasks": found, "failures": failures}

    def list_tasks(self, request: Request) -> Reply:
        """Answer ListTasks."""
        cluster = scope.cluster_of(request)
        name = str(request.get("serviceName") or "").rpartition("/")[2]
        if name and scope.find_service(self._scheduler, cluster, name) is None:
            raise RequestRefused("ServiceNotFoundException", "Service not found.")
        desired = request.get("desiredStatus") or "RUNNING"
        if desired not in ("RUNNING", "PENDING", "STOPPED"):
            raise invalid(f"desiredStatus '{desired}' must be one of RUNNING, PENDING, STOPPED.")
        wanted = {
            "desired": Status(desired),
            "family": request.get("family"),
            "service": name or None,
            "started_by": request.get("startedBy"),
            "launch_type": request.get("launchType"),
        }
        arns = [
            t.arn
            for t in self._scheduler.tasks()
            if scope.is_in_scope(t)
            and t.cluster == cluster
            and all(value is None or getattr(t, field) == value for field, value in wanted.items())
        ]
        return wire.page("taskArns", arns, request, default=100)

    def execute_command(self, request: Request) -> Reply:
        """Refuse ExecuteCommand, in AWS's words where AWS would refuse it as well."""
        task = scope.find_task(self._scheduler, scope.cluster_of(request), request.get("task") or "")
        if task is None:
            raise invalid("The referenced task was not found.")
        if not task.enable_execute:
            raise invalid(NO_EXECUTE)
        if not task.running:
            raise RequestRefused("TargetNotConnectedException", "The execute command agent isn't running.")
        raise not_served("ExecuteCommand", "open a session in the container")
