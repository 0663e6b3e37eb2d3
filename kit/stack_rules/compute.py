"""Rules about services and tasks: two of each, replaced when they hang, drained when they leave."""

from __future__ import annotations

from collections.abc import Iterator

from kit.stack_rules.roles import (
    SERVICE,
    TARGET_GROUP,
    TASK_DEFINITION,
    environments,
    is_public_service,
    is_public_task,
)
from kit.stack_rules.rule import Condition, Rule, at_least, between, equal, present, properties, reference
from kit.stack_rules.template import EACH, Template

MAIN = ("ContainerDefinitions",)
LOG_GROUP = "AWS::Logs::LogGroup"
DETECTION_S = (30, 120)
HEALTH_PATH = "/healthz"
SECRET_WORDS = ("SECRET", "PASSWORD", "PRIVATE", "CREDENTIAL", "ACCESS_KEY")
INTERVAL_S_DEFAULT, RETRIES_DEFAULT = 30, 3


def _main_containers(template: Template) -> Iterator[tuple[str, dict]]:
    for name, definition in template.of_type(TASK_DEFINITION).items():
        containers = definition.get("ContainerDefinitions")
        yield name, containers[0] if isinstance(containers, list) and isinstance(containers[0], dict) else {}


def _unhealthy_containers(template: Template) -> Iterator[tuple[str, str]]:
    """Find main containers that are not checked, or whose failure is noticed too early or too late."""
    for name, container in _main_containers(template):
        check = container.get("HealthCheck")
        if not isinstance(check, dict):
            yield f"{name}.HealthCheck", "is not set"
            continue
        command = [text for value in template.at(check, ("Command",)) for text in template.possible(value)]
        if not any(HEALTH_PATH in str(text) for text in command):
            yield f"{name}.HealthCheck.Command", f"does not ask for {HEALTH_PATH}"
        for interval in template.possible(check.get("Interval", INTERVAL_S_DEFAULT)):
            for retries in template.possible(check.get("Retries", RETRIES_DEFAULT)):
                noticed_s = int(interval) * int(retries) if f"{interval}{retries}".isdigit() else -1
                if not DETECTION_S[0] <= noticed_s <= DETECTION_S[1]:
                    yield f"{name}.HealthCheck", f"notices a hang after {noticed_s} s, expected {DETECTION_S}"


def _plain_secrets(template: Template) -> Iterator[tuple[str, str]]:
    for name, values in environments(template):
        for key in values:
            if any(word in key.upper() for word in SECRET_WORDS):
                yield f"{name}.Environment.{key}", "is in plain text, expected a container secret"


def _fewer_drain_seconds(template: Template) -> Iterator[tuple[str, str]]:
    """Find tasks behind the load balancer that are killed before it has taken them out."""
    delays = [
        float(str(value))
        for values in template.of_type(TARGET_GROUP).values()
        for value in template.at(values, ("TargetGroupAttributes", "deregistration_delay.timeout_seconds"))
        if str(value).isdigit()
    ]
    for name, container in _main_containers(template):
        if is_public_task(template, name):
            for stop_s in template.possible(container.get("StopTimeout", 30)):
                if not str(stop_s).isdigit() or float(stop_s) < max(delays, default=0) + 10:
                    yield f"{name}.StopTimeout", f"is {stop_s}, expected the deregistration delay and 10 s more"


_TWO = Condition(text="at least 2", holds=lambda value: str(value).isdigit() and int(value) >= 2)

RULES: tuple[Rule, ...] = (
    properties(SERVICE, "DesiredCount", _TWO, "one task is lost with its zone", default=1),
    properties(SERVICE, "DeploymentConfiguration.DeploymentCircuitBreaker.Enable", equal(True),
        "a deployment of tasks that cannot start would go on for ever", default=False),
    properties(SERVICE, "DeploymentConfiguration.DeploymentCircuitBreaker.Rollback", equal(True),
        "a failed deployment must return to the tasks that worked", default=False),
    properties(SERVICE, "DeploymentConfiguration.MinimumHealthyPercent", equal(100),
        "a deployment must not take tasks away before their replacements serve", default=100),
    properties(SERVICE, "DeploymentConfiguration.MaximumPercent", at_least(150),
        "a deployment needs room to start replacements", default=200),
    properties(SERVICE, "AvailabilityZoneRebalancing", equal("ENABLED"),
        "after the loss of a zone all tasks would stay in the other one", default="DISABLED"),
    properties(SERVICE, "SchedulingStrategy", equal("REPLICA"), "Fargate runs replicas", default="REPLICA"),
    properties(SERVICE, "PropagateTags", equal("SERVICE"),
        "experiments find their targets by the tags of tasks", default="NONE"),
    properties(SERVICE, "LoadBalancers", present(), "no service would serve clients", where=is_public_service),
    properties(SERVICE, "HealthCheckGracePeriodSeconds", between(30, 300),
        "a shorter one replaces tasks that only start slowly, a longer one keeps tasks that never start",
        default=0, where=is_public_service),
    properties(TASK_DEFINITION, (*MAIN, EACH, "Privileged"), equal(False), "a container must not control its host",
        default=False),
    properties(TASK_DEFINITION, "NetworkMode", equal("awsvpc"), "faults in one task must not reach another one",
        default="bridge"),
    properties(TASK_DEFINITION, "PidMode", equal("task"), "FIS reaches processes of a task only with it"),
    properties(TASK_DEFINITION, "EnableFaultInjection", equal(True), "FIS reaches a task's network only with it",
        default=False),
    properties(TASK_DEFINITION, "Memory", at_least(512), "a task that runs out of memory is killed", default=0),
    properties(LOG_GROUP, "RetentionInDays", between(7, 400),
        "shorter, and the logs of an incident are gone; without one they are kept for ever"),
    Rule(name="container-health", why="a task that hangs must be replaced, and one that pauses must not",
        find=_unhealthy_containers),
    Rule(name="drain-time", why="a task that leaves must answer the requests that it still has",
        find=_fewer_drain_seconds),
    Rule(name="plain-secrets", why="everyone who may describe the task could read it", find=_plain_secrets),
    Rule(name="main-container", why="the service's own process must be the image under test, watched and logged",
        find=lambda template: (
            (f"{name}.{key}", f"is {container.get(key)!r}, expected {condition.text}")
            for name, container in _main_containers(template)
            for key, condition, default in (
                ("Image", reference("ImageUri"), None),
                ("Essential", equal(True), True),
                ("LogConfiguration", present(), None),
            )
            if not condition.holds(container.get(key, default))
        )),
)  # fmt: skip
