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

# Members of a container definition that are structures themselves. MiniStack's CloudFormation turns PascalCase names
# into camelCase on the first level only, so the names inside these members are converted here.
_NESTED = ("healthCheck", "dependsOn", "secrets", "ulimits")

Answer = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]
Reply = dict[str, Any]
Handler = Callable[[Request], Reply]


class RequestRefused(KitError):
    """A request that AWS would refuse. `code` is AWS's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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
    start = int(request.get("nextToken") or 0)
    size = int(request.get("maxResults") or default)
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
    key = ecs._resolve_td_key(reference or "")
    found = ecs._task_defs.get(key) if key else None
    if found is None or found.get("status") != "ACTIVE":
        raise RequestRefused("ClientException", "Unable to find task definition: TaskDefinition not found.")
    definition = dict(found)
    definition["containerDefinitions"] = [_with_api_names(c) for c in found["containerDefinitions"]]
    definition["_tags"] = tags(ecs._tags.get(definition["taskDefinitionArn"]))
    return definition


def _with_api_names(container: Mapping[str, Any]) -> dict[str, Any]:
    converted = dict(container)
    for name in _NESTED:
        if name in converted:
            converted[name] = _in_camel_case(converted[name])
    return converted


def _in_camel_case(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key[:1].lower() + key[1:]: _in_camel_case(item) for key, item in value.items()}
    return [_in_camel_case(item) for item in value] if isinstance(value, list) else value


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
