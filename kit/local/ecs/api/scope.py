"""Find the cluster, service or task that a request names, in the request's account and Region."""

from __future__ import annotations

from typing import Protocol

from ministack.core.responses import get_account_id, get_region
from ministack.services import ecs

from kit.local.ecs.ecs_services import Service
from kit.local.ecs.scheduler import Scheduler
from kit.local.ecs.tasks import Task
from kit.local.ecs.wire import Request, RequestRefused, invalid

DEFAULT = "default"


class Owned(Protocol):
    """Something in an account and a Region."""

    account: str
    region: str


def cluster_of(request: Request) -> str:
    """Return the name of the request's cluster. Raises RequestRefused if it does not exist."""
    name = ecs._resolve_cluster_name(request.get("cluster") or DEFAULT)
    if name is None or name not in ecs._clusters:
        raise RequestRefused("ClusterNotFoundException", "Cluster not found.")
    return name


def is_in_scope(item: Owned) -> bool:
    """Return whether something is in the request's account and Region."""
    return (item.account, item.region) == (get_account_id(), get_region())


def arn(resource: str) -> str:
    """Return the ARN of a resource in the request's account and Region."""
    return f"arn:aws:ecs:{get_region()}:{get_account_id()}:{resource}"


def service_arn(cluster: str, reference: str) -> str:
    """Return the ARN of a service that is given by name or ARN."""
    return reference if reference.startswith("arn:") else arn(f"service/{cluster}/{reference}")


def find_service(scheduler: Scheduler, cluster: str, reference: str) -> Service | None:
    """Return the service of a cluster with this name or ARN, or None."""
    service = scheduler.services.get(service_arn(cluster, reference))
    return service if service is not None and is_in_scope(service) and service.cluster == cluster else None


def active_service(scheduler: Scheduler, request: Request) -> Service:
    """Return the active service that the request names. Raises RequestRefused."""
    service = find_service(scheduler, cluster_of(request), request.get("service", ""))
    if service is None:
        raise RequestRefused("ServiceNotFoundException", "Service not found.")
    if service.status != "ACTIVE":
        raise RequestRefused("ServiceNotActiveException", "Service was not ACTIVE.")
    return service


def find_task(scheduler: Scheduler, cluster: str, reference: str) -> Task | None:
    """Return the task of a cluster with this id or ARN, or None."""
    task = scheduler.task(reference.rpartition("/")[2] if "/" in reference else reference)
    return task if task is not None and is_in_scope(task) and task.cluster == cluster else None


def task_arn(cluster: str, reference: str) -> str:
    """Return the ARN of a task that is given by id or ARN."""
    return reference if reference.startswith("arn:") else arn(f"task/{cluster}/{reference}")


def counted(request: Request, member: str, *, what: str, most: int) -> list[str]:
    """Return a list of the request that must have between one and `most` entries."""
    given = request.get(member) or []
    if not given:
        raise invalid(f"{what} cannot be empty.")
    if len(given) > most:
        raise invalid(f"{what} can have at most {most} entries, but has {len(given)}.")
    return given
