"""Parse ECS requests and task definitions, and write answers and errors."""

import shlex
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ministack.core.responses import error_response_json, get_region, json_response
from ministack.services import ec2, ecs

from kit.errors import KitError
from kit.local.ecs.placement import Subnet
from kit.local.ecs.tasks import Container, Target

PAGE_MAX = 100
TAGS_MAX = 50

Answer = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]
Reply = dict[str, Any]
Handler = Callable[[Request], Reply]


class RequestRefused(KitError):
    """A request that AWS would refuse. `code` is AWS's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestRefused:
    """Return the refusal of a parameter."""
    return RequestRefused("InvalidParameterException", message)


def not_served(what: str, aws_would: str) -> RequestRefused:
    """Return the refusal of something that AWS has and the local ECS does not do."""
    return RequestRefused("UnsupportedOperation", f"{what} is not served here; AWS would {aws_would}")


def answer(handler: Handler, request: Request) -> Answer:
    """Call the handler and serialise its reply, or the error that it raises."""
    try:
        return json_response(handler(request))
    except RequestRefused as error:
        return error_response_json(error.code, str(error), 400)
    except ValueError as error:
        # A handler could not parse a number or an enumeration of the request.
        return error_response_json("InvalidParameterException", f"Invalid value: {error}", 400)


def page(name: str, arns: Sequence[str], request: Request, *, default: int) -> Reply:
    """Return the page of a list that the request's `nextToken` and `maxResults` select."""
    token = str(request.get("nextToken") or "0")
    if not token.isdecimal() or int(token) > len(arns):
        raise invalid(f"Invalid token '{token}'.")
    start, size = int(token), int(request.get("maxResults") or default)
    if not 1 <= size <= PAGE_MAX:
        raise invalid(f"maxResults must be between 1 and {PAGE_MAX}, but is {size}.")
    reply: Reply = {name: list(arns[start : start + size])}
    if start + size < len(arns):
        reply["nextToken"] = str(start + size)
    return reply


def is_true(value: Any) -> bool:
    """Read a boolean of the API or of a template, where it may be a string."""
    return str(value).lower() == "true"


def task_definition(reference: str) -> dict[str, Any]:
    """Return the active definition with this name, name:revision or ARN, and its tags under `_tags`.

    The tags are needed for PropagateTags.
    """
    found = find_definition(reference)
    if found is None or found["status"] != "ACTIVE":
        raise RequestRefused("ClientException", "Unable to find task definition: TaskDefinition not found.")
    return {**found, "_tags": tags(ecs._tags.get(found["taskDefinitionArn"]))}


def find_definition(reference: str) -> dict[str, Any] | None:
    """Return the task definition with this name:revision or ARN, or the latest active one of a family."""
    key = ecs._resolve_td_key(reference) if reference else None
    if key is None:
        return None
    family = reference.rpartition("/")[2]
    if ":" in family:
        return ecs._task_defs.get(key)
    active = [d for d in ecs._task_defs.values() if d["family"] == family and d["status"] == "ACTIVE"]
    return max(active, key=lambda each: each["revision"], default=None)


def containers(definition: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> list[Container]:
    """Return the containers of a task with this definition and these overrides."""
    overridden = {o.get("name"): o for o in (overrides or {}).get("containerOverrides") or []}
    return [_container(i, c, overridden.get(c["name"]) or {}) for i, c in enumerate(definition["containerDefinitions"])]


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
    """Return the subnets of a networkConfiguration; without one, the default subnets of the Region."""
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


def targets(load_balancers: Sequence[Mapping[str, Any]], definition: Mapping[str, Any]) -> tuple[Target, ...]:
    """Return the targets to register for a service's `loadBalancers`. Each must match a port mapping."""
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
    """Turn the API's list of tags into a dict."""
    return {record["key"]: str(record.get("value", "")) for record in records or []}


def checked_tags(records: Sequence[Mapping[str, str]] | None) -> list[dict[str, str]]:
    """Return the tags of a request. Raises RequestRefused for a key that is given twice, and for too many tags."""
    found = [{"key": str(record.get("key", "")), "value": str(record.get("value", ""))} for record in records or ()]
    keys = [tag["key"] for tag in found]
    if len(keys) > TAGS_MAX:
        raise invalid(f"Tag count exceeds the limit of {TAGS_MAX}.")
    if not all(keys) or len(set(keys)) < len(keys):
        raise invalid("Each tag must have a key of its own.")
    return found
