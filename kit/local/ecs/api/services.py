"""Answer the ECS operations on services."""

from __future__ import annotations

from typing import Any

from ministack.core.responses import get_account_id, get_region

from kit.local.ecs import wire
from kit.local.ecs.api import scope, service_rules
from kit.local.ecs.ecs_services import Deployment, DeploymentLimits, Service
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.wire import Reply, Request, invalid, is_true

DESCRIBE_MAX = 10
# Members of a request that a service only echoes. None of them needs a new deployment.
_ECHOED = ("loadBalancers", "networkConfiguration", "enableExecuteCommand", "availabilityZoneRebalancing")


class Services:
    """The operations on services of one scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def create_service(self, request: Request) -> Reply:
        """Answer CreateService."""
        cluster = scope.cluster_of(request)
        name = request.get("serviceName") or ""
        service_rules.check_name(name)
        existing = scope.find_service(self._scheduler, cluster, name)
        if existing is not None and existing.status == "ACTIVE":
            raise invalid("Creation of service was not idempotent.")
        if existing is not None and existing.status == "DRAINING":
            raise invalid("Unable to Start a service that is still Draining.")
        definition = wire.task_definition(request.get("taskDefinition") or "")
        launch_type = service_rules.launch_type(request, definition)
        if request.get("desiredCount") is None:
            raise invalid("desiredCount must be specified for a service with scheduling strategy REPLICA.")
        limits = DeploymentLimits.of(request.get("deploymentConfiguration"))
        balancers = request.get("loadBalancers") or []
        service_rules.check_counts(request, limits, has_targets=bool(balancers))
        service_rules.check_network(request.get("networkConfiguration"), definition)
        service_rules.check_target_groups(balancers, definition)
        desired = int(request["desiredCount"])
        created = Service(
            name=name,
            account=get_account_id(),
            region=get_region(),
            cluster=cluster,
            desired=desired,
            deployments=[Deployment(definition=definition, desired=desired)],
            subnets=wire.subnets(request.get("networkConfiguration")),
            targets=wire.targets(balancers, definition),
            limits=limits,
            grace_s=float(request.get("healthCheckGracePeriodSeconds") or 0),
            propagate=request.get("propagateTags") or "NONE",
            tags=wire.tags(wire.checked_tags(request.get("tags"))),
            managed_tags=is_true(request.get("enableECSManagedTags")),
            launch_type=launch_type,
            request={name: request[name] for name in _ECHOED if name in request},
        )
        self._scheduler.add_service(created)
        return {"service": self._describe(created)}

    def update_service(self, request: Request) -> Reply:
        """Answer UpdateService. Only some changes begin a new deployment."""
        service = scope.active_service(self._scheduler, request)
        reference = request.get("taskDefinition")
        definition = wire.task_definition(reference) if reference else service.primary.definition
        if service.launch_type == "FARGATE":
            service_rules.launch_type({**request, "launchType": service.launch_type}, definition)
        given = request.get("deploymentConfiguration")
        limits = service.limits if given is None else DeploymentLimits.of({**service.limits.describe(), **given})
        network = request.get("networkConfiguration", service.request.get("networkConfiguration"))
        balancers = request.get("loadBalancers", service.request.get("loadBalancers")) or []
        service_rules.check_counts(request, limits, has_targets=bool(balancers))
        service_rules.check_network(network, definition)
        if balancers != (service.request.get("loadBalancers") or []):
            service_rules.check_target_groups(balancers, definition)
        subnets, targets = wire.subnets(network), wire.targets(balancers, definition)
        # Everything is checked. From here on the service changes.
        changed = (
            definition["taskDefinitionArn"] != service.primary.definition_arn
            or is_true(request.get("forceNewDeployment"))
            or network != service.request.get("networkConfiguration")
            or balancers != (service.request.get("loadBalancers") or [])
        )
        service.limits = limits
        self._change(service, request)
        service.request |= {name: request[name] for name in _ECHOED if request.get(name) is not None}
        if changed:
            service.subnets, service.targets = subnets, targets
            service.deploy(definition)
        self._scheduler.publish(service)
        return {"service": self._describe(service)}

    @staticmethod
    def _change(service: Service, request: Request) -> None:
        """Change what takes effect without a new deployment."""
        if request.get("desiredCount") is not None:
            service.desired = int(request["desiredCount"])
            service.primary.desired = service.desired
            service.steady = False
        if request.get("healthCheckGracePeriodSeconds") is not None:
            service.grace_s = float(request["healthCheckGracePeriodSeconds"])
        if request.get("propagateTags"):
            service.propagate = request["propagateTags"]
        if request.get("enableECSManagedTags") is not None:
            service.managed_tags = is_true(request["enableECSManagedTags"])

    def delete_service(self, request: Request) -> Reply:
        """Answer DeleteService."""
        service = scope.active_service(self._scheduler, request)
        if service.desired > 0 and not is_true(request.get("force")):
            raise invalid("The service cannot be stopped while it is scaled above 0.")
        self._scheduler.delete_service(service)
        return {"service": self._describe(service)}

    def describe_services(self, request: Request) -> Reply:
        """Answer DescribeServices."""
        cluster = scope.cluster_of(request)
        found, failures = [], []
        for reference in scope.counted(request, "services", what="Services", most=DESCRIBE_MAX):
            service = scope.find_service(self._scheduler, cluster, reference)
            if service is None:
                failures.append({"arn": scope.service_arn(cluster, reference), "reason": "MISSING"})
            else:
                found.append(self._describe(service, tags="TAGS" in (request.get("include") or [])))
        return {"services": found, "failures": failures}

    def list_services(self, request: Request) -> Reply:
        """Answer ListServices."""
        cluster = scope.cluster_of(request)
        strategy = request.get("schedulingStrategy") or "REPLICA"
        arns = [
            s.arn
            for s in self._scheduler.services.values()
            if scope.is_in_scope(s)
            and s.cluster == cluster
            and s.status != "INACTIVE"
            and request.get("launchType") in (None, s.launch_type)
            and strategy == "REPLICA"
        ]
        return wire.page("serviceArns", arns, request, default=10)

    def _describe(self, service: Service, *, tags: bool = True) -> dict[str, Any]:
        record = service.describe(self._scheduler.tasks_of(service))
        return record if tags else {name: value for name, value in record.items() if name != "tags"}
