"""Check task definitions by the rules of AWS, and refuse what tasks here would not do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kit.local.ecs.container_logs import OPTIONS as LOG_OPTIONS
from kit.local.ecs.wire import RequestRefused, not_served

NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
# CPU units → the sizes of memory in MiB with which Fargate runs tasks.
FARGATE_SIZES: Mapping[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
EPHEMERAL_GIB = range(21, 201)
# The parts of a container health check, in seconds and times.
_HEALTH_RANGES = {"interval": (5, 300), "timeout": (2, 120), "retries": (1, 10), "startPeriod": (0, 300)}
_CONDITIONS = ("START", "COMPLETE", "SUCCESS", "HEALTHY")
_LOGS_REQUIRED = ("awslogs-group", "awslogs-region", "awslogs-stream-prefix")

Container = Mapping[str, Any]


def check(definition: Mapping[str, Any], *, is_fargate: bool, network_mode: str) -> None:
    """Raise RequestRefused unless AWS accepts the task definition."""
    family = str(definition.get("family") or "")
    if not NAME.fullmatch(family):
        raise _refused(f"Family '{family}' must be up to 255 letters, numbers, hyphens and underscores.")
    containers: Sequence[Container] = definition.get("containerDefinitions") or []
    _check_names(containers)
    if not any(each.get("essential", True) for each in containers):
        raise _refused("At least one container of the task definition must be essential.")
    task_memory = _memory_mib(definition.get("memory"))
    if is_fargate:
        _check_fargate(definition, network_mode)
    volumes = [volume.get("name") for volume in definition.get("volumes") or []]
    if len(set(volumes)) < len(volumes) or not all(volumes):
        raise _refused("Each volume must have a name of its own.")
    for each in containers:
        _check_container(each, task_memory=task_memory, network_mode=network_mode)
        if is_fargate:
            _check_logs(each, definition)
        if each.get("secrets") and not definition.get("executionRoleArn"):
            raise _refused(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
            )
    _check_sum("cpu", _cpu_units(definition.get("cpu")), containers)
    _check_dependencies(containers)


def runs_on_fargate(definition: Mapping[str, Any], network_mode: str) -> bool:
    """Return whether Fargate can run a task definition, which need not say that it requires Fargate."""
    try:
        _check_fargate(definition, network_mode)
    except RequestRefused:
        return False
    return True


def _check_names(containers: Sequence[Container]) -> None:
    if not containers:
        raise _refused("Container list cannot be empty.")
    names = [str(each.get("name") or "") for each in containers]
    for name, each in zip(names, containers, strict=True):
        if not NAME.fullmatch(name):
            raise _refused(f"Container.name '{name}' must be up to 255 letters, numbers, hyphens and underscores.")
        if not each.get("image"):
            raise _refused(f"Container.image should not be null or empty (container '{name}').")
    if twice := [name for name in names if names.count(name) > 1]:
        raise _refused(f"Container names must be unique, but '{twice[0]}' is given more than once.")


def _check_fargate(definition: Mapping[str, Any], network_mode: str) -> None:
    if network_mode != "awsvpc":
        raise _refused("Fargate only supports network mode 'awsvpc'.")
    for member in ("cpu", "memory"):
        if not definition.get(member):
            raise _refused(f"Fargate requires that '{member}' be defined at the task level.")
    cpu, memory = _cpu_units(definition["cpu"]), _memory_mib(definition["memory"])
    if memory not in FARGATE_SIZES.get(cpu or 0, ()):
        raise _refused(f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory.")
    if (pid_mode := definition.get("pidMode") or "task") != "task":
        raise _refused(f"Fargate only supports pidMode 'task', but '{pid_mode}' is given.")
    size = (definition.get("ephemeralStorage") or {}).get("sizeInGiB")
    if size is not None and int(size) not in EPHEMERAL_GIB:
        raise _refused(f"Ephemeral storage must be between 21 and 200 GiB, but is {size}.")


def _check_container(container: Container, *, task_memory: int | None, network_mode: str) -> None:
    name = container["name"]
    memory, reserved = container.get("memory"), container.get("memoryReservation")
    if task_memory is None and not memory and not reserved:
        raise _refused(
            f"Invalid setting for container '{name}'. "
            "At least one of 'memory' or 'memoryReservation' must be specified."
        )
    if task_memory is not None and max(int(memory or 0), int(reserved or 0)) > task_memory:
        raise _refused(
            f"Invalid setting for container '{name}'. The memory value is greater than the 'memory' value of the task."
        )
    if memory and reserved and int(reserved) > int(memory):
        raise _refused(f"Invalid setting for container '{name}'. 'memory' must be at least 'memoryReservation'.")
    _check_ports(container, network_mode)
    environment = [each.get("name") for each in (*container.get("environment", ()), *container.get("secrets", ()))]
    if twice := [each for each in environment if environment.count(each) > 1]:
        raise _refused(f"The secret or variable name '{twice[0]}' of container '{name}' must be unique.")
    check = container.get("healthCheck")
    if check is not None:
        _check_health(name, check)


def _check_ports(container: Container, network_mode: str) -> None:
    ports = [
        (int(p.get("containerPort") or 0), p.get("protocol") or "tcp") for p in container.get("portMappings") or ()
    ]
    for mapping, (port, protocol) in zip(container.get("portMappings") or (), ports, strict=True):
        if not 1 <= port <= 65535:
            raise _refused(f"The container port {port} of container '{container['name']}' must be between 1 and 65535.")
        if network_mode == "awsvpc" and int(mapping.get("hostPort") or port) != port:
            raise _refused("When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
        if protocol != "tcp":
            raise not_served(f"protocol '{protocol}' of container port {port}", "map it")
    if len(set(ports)) < len(ports):
        raise _refused(f"The port mappings of container '{container['name']}' must be unique.")


def _check_health(name: str, check: Mapping[str, Any]) -> None:
    command = check.get("command") or []
    if not command or command[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise _refused(f"The health check command of container '{name}' must begin with CMD, CMD-SHELL or NONE.")
    if command[0] != "NONE" and len(command) == 1:
        raise _refused(f"The health check command of container '{name}' is empty.")
    for member, (low, high) in _HEALTH_RANGES.items():
        if (value := check.get(member)) is not None and not low <= int(value) <= high:
            raise _refused(
                f"The health check {member} of container '{name}' must be between {low} and {high}, but is {value}."
            )


def _check_logs(container: Container, definition: Mapping[str, Any]) -> None:
    logs = container.get("logConfiguration")
    if not logs:
        return
    if (driver := logs.get("logDriver")) != "awslogs":
        raise not_served(f"log driver '{driver}'", "send the container's output there")
    options = logs.get("options") or {}
    if missing := [name for name in _LOGS_REQUIRED if not options.get(name)]:
        raise _refused(f"Log driver awslogs requires options: {', '.join(missing)}.")
    if unknown := sorted(set(options) - LOG_OPTIONS):
        raise not_served(f"awslogs option '{unknown[0]}'", "carry it out")
    if not definition.get("executionRoleArn"):
        raise _refused("Fargate requires task definition to have execution role ARN to support log driver awslogs.")


def _check_sum(member: str, limit: int | None, containers: Sequence[Container]) -> None:
    total = sum(int(each.get(member) or 0) for each in containers)
    if limit is not None and total > limit:
        raise _refused(
            f"The 'cpu' of the containers, {total} in all, must be no greater than that of the task, {limit}."
        )


def _check_dependencies(containers: Sequence[Container]) -> None:
    by_name = {each["name"]: each for each in containers}
    for each in containers:
        for dependency in each.get("dependsOn") or ():
            _check_dependency(each["name"], dependency, by_name)
    order: list[str] = []
    while len(order) < len(by_name):
        ready = [
            name for name, each in by_name.items()
            if name not in order and all(d["containerName"] in order for d in each.get("dependsOn") or ())
        ]  # fmt: skip
        if not ready:
            circle = sorted(set(by_name) - set(order))
            raise _refused(f"The dependencies of the containers {', '.join(circle)} form a circle.")
        order += ready


def _check_dependency(name: str, dependency: Mapping[str, Any], by_name: Mapping[str, Container]) -> None:
    other, condition = dependency.get("containerName"), dependency.get("condition")
    if other not in by_name:
        raise _refused(f"Container '{name}' depends on container '{other}', which the task definition does not have.")
    if other == name:
        raise _refused(f"Container '{name}' cannot depend on itself.")
    if condition not in _CONDITIONS:
        raise _refused(f"The dependency condition '{condition}' must be one of {', '.join(_CONDITIONS)}.")
    if condition == "HEALTHY" and not by_name[str(other)].get("healthCheck"):
        raise _refused(f"Container '{name}' depends on container '{other}' to be HEALTHY, which has no health check.")
    if condition in ("COMPLETE", "SUCCESS") and by_name[str(other)].get("essential", True):
        raise _refused(f"Container '{name}' cannot wait for the end of container '{other}', which is essential.")


def _cpu_units(value: Any) -> int | None:
    """Return CPU units: 1024, '1024' or '1 vCPU'."""
    return _amount(value, "vcpu", "cpu")


def _memory_mib(value: Any) -> int | None:
    """Return MiB: 1024, '1024' or '1 GB'."""
    return _amount(value, "gb", "memory")


def _amount(value: Any, unit: str, member: str) -> int | None:
    if value in (None, ""):
        return None
    found = re.fullmatch(rf"(\d+)|([\d.]+) ?{unit}", str(value).strip().lower())
    if found is None:
        raise _refused(f"Invalid '{member}' setting for task: '{value}'.")
    return int(found[1]) if found[1] else round(float(found[2]) * 1024)


def amounts(definition: Mapping[str, Any]) -> dict[str, str]:
    """Return `cpu` and `memory` of a task definition in units and MiB, as AWS describes them."""
    found = {"cpu": _cpu_units(definition.get("cpu")), "memory": _memory_mib(definition.get("memory"))}
    return {member: str(value) for member, value in found.items() if value is not None}


def _refused(message: str) -> RequestRefused:
    return RequestRefused("ClientException", message)
