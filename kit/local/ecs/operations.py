"""Answer the ECS operations on services and tasks.

Handlers run on the event loop, in the request's scope, and never wait.
"""

from __future__ import annotations

from ministack.core.responses import get_account_id, get_region
from ministack.services import ecs

from kit.local.ecs import wire
from kit.local.ecs.ecs_services import Deployment, DeploymentLimits, Service
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Status, Task
from kit.local.ecs.timing import DESCRIBE_MAX, RUN_TASK_COUNT_MAX
from kit.local.ecs.wire import Handler, Reply, Request, RequestRefused, is_true

# Members of a request that a service only echoes.
_ECHOED = (
    "loadBalancers",
    "networkConfiguration",
    "serviceRegistries",
    "enableExecuteCommand",
    "availabilityZoneRebalancing",
)


class Operations:
    """The operations of one scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.handlers: dict[str, Handler] = {
            "CreateService": self.create_service,
            "UpdateService": self.update_service,
            "DeleteService": self.delete_service,
            "DescribeServices": self.describe_services,
            "ListServices": self.list_services,
            "RunTask": self.run_task,
            "StopTask": self.stop_task,
            "DescribeTasks": self.describe_tasks,
            "ListTasks": self.list_tasks,
        }

    def create_service(self, data: Request) -> Reply:
        cluster = _cluster(data, create=True)
        name = data.get("serviceName")
        if not name:
            raise RequestRefused("InvalidParameterException", "serviceName can not be blank.")
        service = self._find_service(cluster, name)
        if service is not None and service.status == "ACTIVE":
            raise RequestRefused("InvalidParameterException", "Creation of service was not idempotent.")
        if service is not None and service.status == "DRAINING":
            raise RequestRefused("InvalidParameterException", "Unable to Start a service that is still Draining.")
        definition = wire.task_definition(data.get("taskDefinition", ""))
        desired = int(data.get("desiredCount", 1))
        created = Service(
            name=name,
            account=get_account_id(),
            region=get_region(),
            cluster=cluster,
            desired=desired,
            deployments=[Deployment(definition=definition, desired=desired)],
            subnets=wire.subnets(data.get("networkConfiguration")),
            targets=wire.targets(data.get("loadBalancers") or [], definition),
            limits=DeploymentLimits.of(data.get("deploymentConfiguration")),
            grace_s=float(data.get("healthCheckGracePeriodSeconds") or 0),
            propagate=data.get("propagateTags") or "NONE",
            tags=wire.tags(data.get("tags")),
            managed_tags=is_true(data.get("enableECSManagedTags")),
            launch_type=data.get("launchType") or "FARGATE",
            request={name: data[name] for name in _ECHOED if name in data},
        )
        self._scheduler.add_service(created)
        return {"service": self._describe(created)}

    def update_service(self, data: Request) -> Reply:
        service = self._active(data)
        limits = data.get("deploymentConfiguration")
        if limits is not None:
            service.limits = DeploymentLimits.of({**service.limits.describe(), **limits})
        if data.get("desiredCount") is not None:
            service.desired = int(data["desiredCount"])
            service.primary.desired = service.desired
            service.steady = False
        if data.get("healthCheckGracePeriodSeconds") is not None:
            service.grace_s = float(data["healthCheckGracePeriodSeconds"])
        if data.get("propagateTags"):
            service.propagate = data["propagateTags"]
        if data.get("enableECSManagedTags") is not None:
            service.managed_tags = is_true(data["enableECSManagedTags"])
        self._redeploy(service, data)
        self._scheduler.publish(service)
        return {"service": self._describe(service)}

    def _redeploy(self, service: Service, data: Request) -> None:
        """Begin a new deployment if the tasks must be replaced."""
        reference = data.get("taskDefinition")
        definition = wire.task_definition(reference) if reference else service.primary.definition
        network, balancers = data.get("networkConfiguration"), data.get("loadBalancers")
        changed = (
            definition["taskDefinitionArn"] != service.primary.definition_arn
            or is_true(data.get("forceNewDeployment"))
            or (network is not None and network != service.request.get("networkConfiguration"))
            or (balancers is not None and balancers != service.request.get("loadBalancers"))
        )
        if not changed:
            return
        subnets = wire.subnets(network) if network is not None else service.subnets
        targets = wire.targets(
            balancers if balancers is not None else service.request.get("loadBalancers") or [], definition
        )
        service.subnets, service.targets = subnets, targets
        service.request |= {name: data[name] for name in _ECHOED if data.get(name) is not None}
        service.deploy(definition)

    def delete_service(self, data: Request) -> Reply:
        service = self._active(data)
        if service.desired > 0 and not is_true(data.get("force")):
            raise RequestRefused(
                "InvalidParameterException", "The service cannot be stopped while it is scaled above 0."
            )
        self._scheduler.delete_service(service)
        return {"service": self._describe(service)}

    def describe_services(self, data: Request) -> Reply:
        cluster = _cluster(data)
        found, failures = [], []
        for reference in data.get("services") or []:
            service = self._find_service(cluster, reference)
            if service is None:
                failures.append({"arn": _service_arn(cluster, reference), "reason": "MISSING"})
            else:
                found.append(self._describe(service, tags="TAGS" in (data.get("include") or [])))
        return {"services": found, "failures": failures}

    def list_services(self, data: Request) -> Reply:
        cluster = _cluster(data)
        arns = [
            s.arn
            for s in self._scheduler.services.values()
            if _in_scope(s)
            and s.cluster == cluster
            and s.status != "INACTIVE"
            and data.get("launchType") in (None, s.launch_type)
        ]
        return wire.page("serviceArns", arns, data, default=10)

    def _describe(self, service: Service, *, tags: bool = True) -> Reply:
        record = service.describe(self._scheduler.tasks_of(service))
        return record if tags else {name: value for name, value in record.items() if name != "tags"}

    def _find_service(self, cluster: str, reference: str) -> Service | None:
        return self._scheduler.services.get(_service_arn(cluster, reference))

    def _active(self, data: Request) -> Service:
        service = self._find_service(_cluster(data), data.get("service", ""))
        if service is None:
            raise RequestRefused("ServiceNotFoundException", "Service not found.")
        if service.status != "ACTIVE":
            raise RequestRefused("ServiceNotActiveException", "Service was not ACTIVE.")
        return service

    def run_task(self, data: Request) -> Reply:
        cluster = _cluster(data, create=True)
        definition = wire.task_definition(data.get("taskDefinition", ""))
        count = int(data.get("count") or 1)
        if not 1 <= count <= RUN_TASK_COUNT_MAX:
            raise RequestRefused("InvalidParameterException", f"Count must be between 1 and {RUN_TASK_COUNT_MAX}.")
        network = data.get("networkConfiguration")
        tags = wire.tags(data.get("tags"))
        if data.get("propagateTags") == "TASK_DEFINITION":
            tags = definition["_tags"] | tags
        if is_true(data.get("enableECSManagedTags")):
            tags["aws:ecs:clusterName"] = cluster
        used: list[str] = []
        tasks = []
        for _ in range(count):
            task = self._scheduler.launch(
                definition=definition,
                account=get_account_id(),
                region=get_region(),
                cluster=cluster,
                subnets=wire.subnets(network),
                used=used,
                tags=tags,
                overrides=data.get("overrides"),
                group=data.get("group") or f"family:{definition['family']}",
                started_by=data.get("startedBy") or "",
                launch_type=data.get("launchType") or "FARGATE",
                enable_execute=is_true(data.get("enableExecuteCommand")),
            )
            used.append(task.subnet.id)
            tasks.append(task.describe())
        return {"tasks": tasks, "failures": []}

    def stop_task(self, data: Request) -> Reply:
        task = self._find_task(_cluster(data), data.get("task", ""))
        if task is None:
            raise RequestRefused("InvalidParameterException", "The referenced task was not found.")
        self._scheduler.stop_task(task.arn, data.get("reason") or "Task stopped by user")
        return {"task": task.describe()}

    def describe_tasks(self, data: Request) -> Reply:
        cluster = _cluster(data)
        references = data.get("tasks") or []
        if len(references) > DESCRIBE_MAX:
            raise RequestRefused("InvalidParameterException", f"At most {DESCRIBE_MAX} tasks can be described.")
        found, failures = [], []
        for reference in references:
            task = self._find_task(cluster, reference)
            if task is None:
                arn = reference if reference.startswith("arn:") else _arn(f"task/{cluster}/{reference}")
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            record = task.describe()
            if "TAGS" not in (data.get("include") or []):
                record["tags"] = []
            found.append(record)
        return {"tasks": found, "failures": failures}

    def list_tasks(self, data: Request) -> Reply:
        cluster = _cluster(data)
        name = str(data.get("serviceName") or "").rpartition("/")[2]
        if name and self._find_service(cluster, name) is None:
            raise RequestRefused("ServiceNotFoundException", "Service not found.")
        wanted = {
            "desired": Status(data.get("desiredStatus") or "RUNNING"),
            "family": data.get("family"),
            "service": name or None,
            "started_by": data.get("startedBy"),
            "launch_type": data.get("launchType"),
        }
        arns = [
            t.arn
            for t in self._scheduler.tasks()
            if _in_scope(t)
            and t.cluster == cluster
            and all(value is None or getattr(t, field) == value for field, value in wanted.items())
        ]
        return wire.page("taskArns", arns, data, default=100)

    def _find_task(self, cluster: str, reference: str) -> Task | None:
        task = self._scheduler.task(reference.rpartition("/")[2] if "/" in reference else reference)
        return task if task is not None and _in_scope(task) and task.cluster == cluster else None


def _cluster(data: Request, *, create: bool = False) -> str:
    """Return the name of the request's cluster, which must exist. `default` is created when it is first used."""
    name = ecs._resolve_cluster_name(data.get("cluster") or "default")
    if create and name == "default" and name not in ecs._clusters:
        ecs._create_cluster({"clusterName": name})
    if name is None or name not in ecs._clusters:
        raise RequestRefused("ClusterNotFoundException", "Cluster not found.")
    return name


def _in_scope(item: Service | Task) -> bool:
    return (item.account, item.region) == (get_account_id(), get_region())


def _arn(resource: str) -> str:
    return f"arn:aws:ecs:{get_region()}:{get_account_id()}:{resource}"


def _service_arn(cluster: str, reference: str) -> str:
    return reference if reference.startswith("arn:") else _arn(f"service/{cluster}/{reference}")
