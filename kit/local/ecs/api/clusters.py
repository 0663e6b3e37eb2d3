"""Answer the ECS operations on clusters."""

from __future__ import annotations

from typing import Any

from ministack.services import ecs

from kit.local.ecs import wire
from kit.local.ecs.api import scope
from kit.local.ecs.api.task_definition_rules import NAME
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Status
from kit.local.ecs.wire import Reply, Request, RequestRefused, invalid, not_served

DESCRIBE_MAX = 100


class Clusters:
    """The operations that look at a cluster's services and tasks, or change it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def create_cluster(self, request: Request) -> Reply:
        """Answer CreateCluster. An active cluster of this name is returned as it is."""
        name = request.get("clusterName") or scope.DEFAULT
        if not NAME.fullmatch(name):
            raise invalid(f"Cluster name '{name}' must be up to 255 letters, numbers, hyphens and underscores.")
        if name in ecs._clusters:
            return {"cluster": _view(ecs._clusters[name])}
        data = {"clusterName": name, "tags": wire.checked_tags(request.get("tags"))}
        return {"cluster": _view(ecs._put_cluster({**data, "settings": _settings(request)}))}

    def delete_cluster(self, request: Request) -> Reply:
        """Answer DeleteCluster. A cluster with services or tasks is kept."""
        name = scope.cluster_of(request)
        services = [s for s in self._scheduler.services.values() if scope.is_in_scope(s) and s.cluster == name]
        if any(service.status != "INACTIVE" for service in services):
            raise RequestRefused(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        tasks = [t for t in self._scheduler.tasks() if scope.is_in_scope(t) and t.cluster == name]
        if any(task.status is not Status.STOPPED for task in tasks):
            raise RequestRefused(
                "ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."
            )
        cluster = ecs._clusters.pop(name)
        ecs._tags.pop(cluster["clusterArn"], None)
        return {"cluster": {**_view(cluster), "status": "INACTIVE"}}

    def list_clusters(self, request: Request) -> Reply:
        """Answer ListClusters."""
        return wire.page("clusterArns", [c["clusterArn"] for c in ecs._clusters.values()], request, default=100)

    def update_cluster(self, request: Request) -> Reply:
        """Answer UpdateCluster."""
        cluster = ecs._clusters[scope.cluster_of(request)]
        if request.get("settings"):
            cluster["settings"] = _settings(request)
        return {"cluster": _view(cluster)}

    def update_cluster_settings(self, request: Request) -> Reply:
        """Answer UpdateClusterSettings."""
        return self.update_cluster(request)


def _settings(request: Request) -> list[dict[str, str]]:
    settings = request.get("settings") or [{"name": "containerInsights", "value": "disabled"}]
    for setting in settings:
        if setting.get("name") != "containerInsights":
            raise invalid(f"Setting name '{setting.get('name')}' must be containerInsights.")
        if setting.get("value") in ("enabled", "enhanced"):
            raise not_served(f"containerInsights '{setting['value']}'", "send metrics of the cluster to CloudWatch")
        if setting.get("value") != "disabled":
            raise invalid(f"Setting value '{setting.get('value')}' must be disabled, enabled or enhanced.")
    return settings


def _view(cluster: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cluster.items() if name not in ("attachments", "attachmentsStatus")}
