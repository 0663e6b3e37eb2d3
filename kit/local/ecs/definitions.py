"""Reading task definitions and requests: the I/O edge where dicts become our values.

Owns parsing and its errors. Must not know the scheduler's state.
"""

import shlex
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.core.responses import get_region
from ministack.services import ec2
from ministack.services import ecs as ministack_ecs

from kit.errors import KitError
from kit.local.ecs.ecs_services import is_true
from kit.local.ecs.placement import Subnet
from kit.local.ecs.tasks import Container, Target

# MiniStack's CloudFormation lowers the first letters of a container definition's members one level deep only;
# these are the members whose own members have fixed names.
_NESTED = ("healthCheck", "dependsOn", "secrets", "ulimits")


class RequestRefused(KitError):
    """A request AWS would refuse: `code` is the error's type."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def now() -> float:
    return time.time()


def task_definition(reference: str) -> dict[str, Any]:
    """The registered definition that a name, name:revision or ARN means, in the request's scope."""
    key = ministack_ecs._resolve_td_key(reference or "")
    found = ministack_ecs._task_defs.get(key) if key else None
    if found is None or found.get("status") != "ACTIVE":
        raise RequestRefused("ClientException", "Unable to find task definition: TaskDefinition not found.")
    definition = dict(found)
    definition["containerDefinitions"] = [_normal(c) for c in found["containerDefinitions"]]
    return definition


def _normal(container: Mapping[str, Any]) -> dict[str, Any]:
    normal = dict(container)
    for name in _NESTED:
        if name in normal:
            normal[name] = _lower(normal[name])
    return normal


def _lower(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: _lower(item) for key, item in value.items()}
    return [_lower(item) for item in value] if isinstance(value, list) else value


def containers(definition: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> list[Container]:
    """The containers that a task of this definition has, overrides applied."""
    given = {o.get("name"): o for o in (overrides or {}).get("containerOverrides") or []}
    return [_container(i, c, given.get(c["name"]) or {}) for i, c in enumerate(definition["containerDefinitions"])]


def _container(index: int, definition: dict[str, Any], override: Mapping[str, Any]) -> Container:
    command = override.get("command") or definition.get("command") or []
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    entry = [str(word) for word in definition.get("entryPoint") or []]
    environment = [*(definition.get("environment") or []), *(override.get("environment") or [])]
    return Container(
        id=f"{index:04d}{zlib.crc32(definition['name'].encode()):010d}",
        definition=definition,
        command=entry + words,
        environment={e["name"]: str(e.get("value", "")) for e in environment},
    )


def subnets(configuration: Mapping[str, Any] | None) -> tuple[Subnet, ...]:
    """The subnets of a networkConfiguration; without one, the default subnets of the region."""
    awsvpc = (configuration or {}).get("awsvpcConfiguration") or {}
    ids = awsvpc.get("subnets") or []
    unknown = [id for id in ids if id not in ec2._subnets]
    if unknown:
        raise RequestRefused(
            "InvalidParameterException",
            f"Error retrieving subnet information for {ids}: The subnet ID '{unknown[0]}' does not exist",
        )
    records = [ec2._subnets[id] for id in ids] or [s for s in ec2._subnets.values() if is_true(s.get("DefaultForAz"))]
    found = tuple(
        Subnet(id=s["SubnetId"], zone=s["AvailabilityZone"], vpc=s["VpcId"], cidr=s["CidrBlock"]) for s in records
    )
    return found or (Subnet(id="", zone=f"{get_region()}a", vpc="", cidr="172.31.0.0/20"),)


def security_groups(configuration: Mapping[str, Any] | None) -> tuple[str, ...]:
    awsvpc = (configuration or {}).get("awsvpcConfiguration") or {}
    return tuple(awsvpc.get("securityGroups") or ())


def targets(load_balancers: Sequence[Mapping[str, Any]], definition: Mapping[str, Any]) -> tuple[Target, ...]:
    """The registrations that a service's `loadBalancers` ask for; each must match a port mapping."""
    return tuple(_target(entry, definition) for entry in load_balancers if entry.get("targetGroupArn"))


def _target(entry: Mapping[str, Any], definition: Mapping[str, Any]) -> Target:
    name, port = entry.get("containerName", ""), int(entry.get("containerPort") or 0)
    container = next((c for c in definition["containerDefinitions"] if c["name"] == name), None)
    if container is None:
        raise RequestRefused(
            "InvalidParameterException", f"The container {name} does not exist in the task definition."
        )
    if port not in [int(m["containerPort"]) for m in container.get("portMappings") or []]:
        raise RequestRefused(
            "InvalidParameterException", f"The container {name} did not have a container port {port} defined."
        )
    return Target(group_arn=entry["targetGroupArn"], container=name, port=port)


def tags(records: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags of the API's shape as a dict."""
    return {record["key"]: str(record.get("value", "")) for record in records or []}
