"""Answer the ECS operations on the deployments and revisions of services."""

from __future__ import annotations

from typing import Any

from kit.local.ecs import wire
from kit.local.ecs.api import scope
from kit.local.ecs.ecs_services import Service
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.wire import Reply, Request, RequestRefused

DESCRIBE_MAX = 20


class ServiceDeployments:
    """The operations on what the services of one scheduler were deployed with."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def list_service_deployments(self, request: Request) -> Reply:
        """Answer ListServiceDeployments, the newest first."""
        service = scope.find_service(self._scheduler, scope.cluster_of(request), request.get("service") or "")
        if service is None:
            raise RequestRefused("ServiceNotFoundException", "Service not found.")
        wanted, between = request.get("status") or [], request.get("createdAt") or {}
        after, before = float(between.get("after") or 0), float(between.get("before") or "inf")
        found = [
            each.brief(service.arn, service.cluster_arn)
            for each in service.history
            if (not wanted or each.status in wanted) and after <= each.created_at <= before
        ]
        by_arn = {each["serviceDeploymentArn"]: each for each in found}
        reply = wire.page("serviceDeployments", list(by_arn), request, default=20)
        return {**reply, "serviceDeployments": [by_arn[arn] for arn in reply["serviceDeployments"]]}

    def describe_service_deployments(self, request: Request) -> Reply:
        """Answer DescribeServiceDeployments."""
        known = {
            deployment.arn: (service, deployment)
            for service in self._services()
            for deployment in service.history
        }  # fmt: skip
        found, failures = [], []
        arns = scope.counted(request, "serviceDeploymentArns", what="Service deployments", most=DESCRIBE_MAX)
        for arn in arns:
            if arn not in known:
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            service, deployment = known[arn]
            found.append(
                deployment.describe(
                    service_arn=service.arn,
                    cluster_arn=service.cluster_arn,
                    configuration=service.limits.describe(),
                    tasks=self._scheduler.tasks_of(service),
                )
            )
        return {"serviceDeployments": found, "failures": failures}

    def describe_service_revisions(self, request: Request) -> Reply:
        """Answer DescribeServiceRevisions."""
        known = {
            revision.arn: (service, revision)
            for service in self._services()
            for revision in service.revisions.values()
        }  # fmt: skip
        found, failures = [], []
        for arn in scope.counted(request, "serviceRevisionArns", what="Service revisions", most=DESCRIBE_MAX):
            if arn not in known:
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            service, revision = known[arn]
            record: dict[str, Any] = {
                "serviceRevisionArn": arn, "serviceArn": service.arn, "clusterArn": service.cluster_arn,
                "createdAt": revision.created_at, **revision.record,
            }  # fmt: skip
            found.append({name: value for name, value in record.items() if value is not None})
        return {"serviceRevisions": found, "failures": failures}

    def _services(self) -> list[Service]:
        return [service for service in self._scheduler.services.values() if scope.is_in_scope(service)]
