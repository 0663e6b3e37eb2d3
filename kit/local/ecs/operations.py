"""Answer the operations of the ECS API.

Handlers run on the event loop, in the request's scope, and never wait.
"""

from __future__ import annotations

from kit.local.ecs.api import task_definitions
from kit.local.ecs.api.clusters import Clusters
from kit.local.ecs.api.protection import Protection
from kit.local.ecs.api.service_deployments import ServiceDeployments
from kit.local.ecs.api.services import Services
from kit.local.ecs.api.tasks import Tasks
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.wire import Handler


def handlers_of(scheduler: Scheduler) -> dict[str, Handler]:
    """Return the handlers by operation. MiniStack answers the other operations that are honoured."""
    clusters, services, tasks = Clusters(scheduler), Services(scheduler), Tasks(scheduler)
    protection, deployments = Protection(scheduler), ServiceDeployments(scheduler)
    return {
        "CreateCluster": clusters.create_cluster,
        "DeleteCluster": clusters.delete_cluster,
        "ListClusters": clusters.list_clusters,
        "UpdateCluster": clusters.update_cluster,
        "UpdateClusterSettings": clusters.update_cluster_settings,
        "RegisterTaskDefinition": task_definitions.register_task_definition,
        "DeregisterTaskDefinition": task_definitions.deregister_task_definition,
        "DescribeTaskDefinition": task_definitions.describe_task_definition,
        "ListTaskDefinitions": task_definitions.list_task_definitions,
        "ListTaskDefinitionFamilies": task_definitions.list_task_definition_families,
        "DeleteTaskDefinitions": task_definitions.delete_task_definitions,
        "CreateService": services.create_service,
        "UpdateService": services.update_service,
        "DeleteService": services.delete_service,
        "DescribeServices": services.describe_services,
        "ListServices": services.list_services,
        "ListServiceDeployments": deployments.list_service_deployments,
        "DescribeServiceDeployments": deployments.describe_service_deployments,
        "DescribeServiceRevisions": deployments.describe_service_revisions,
        "RunTask": tasks.run_task,
        "StopTask": tasks.stop_task,
        "DescribeTasks": tasks.describe_tasks,
        "ListTasks": tasks.list_tasks,
        "ExecuteCommand": tasks.execute_command,
        "UpdateTaskProtection": protection.update_task_protection,
        "GetTaskProtection": protection.get_task_protection,
    }
