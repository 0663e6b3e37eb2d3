"""Find resources of the stack by what they are used for, not by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kit.stack_rules.template import EACH, GET_ATT, MISSING, REF, Template

TABLE, QUEUE = "AWS::DynamoDB::Table", "AWS::SQS::Queue"
SERVICE, TASK_DEFINITION = "AWS::ECS::Service", "AWS::ECS::TaskDefinition"
LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
TARGET_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"
LISTENER = "AWS::ElasticLoadBalancingV2::Listener"
SECURITY_GROUP, SUBNET = "AWS::EC2::SecurityGroup", "AWS::EC2::Subnet"
ROLE, ALARM = "AWS::IAM::Role", "AWS::CloudWatch::Alarm"
EXPERIMENT, DOCUMENT = "AWS::FIS::ExperimentTemplate", "AWS::SSM::Document"
NETWORK = ("NetworkConfiguration", "AwsvpcConfiguration")  # where a service's subnets and groups are
FARGATE_CONTAINERS = "ContainerDefinitions"


def target(value: Any) -> str:
    """Return the logical id that `!Ref X` or `!GetAtt X.Attribute` points at; "" for anything else."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return ""
    (function, argument), *_ = value.items()
    if function == REF:
        return str(argument)
    if function == GET_ATT:
        return str(argument[0] if isinstance(argument, Sequence) and not isinstance(argument, str) else argument).split(
            "."
        )[0]
    return ""


def environments(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the environment of the first container of each task definition, by logical id."""
    for name, definition in template.of_type(TASK_DEFINITION).items():
        containers = definition.get(FARGATE_CONTAINERS) or [{}]
        pairs = containers[0].get("Environment") or [] if isinstance(containers[0], Mapping) else []
        yield name, {pair.get("Name", ""): pair.get("Value", MISSING) for pair in pairs if isinstance(pair, Mapping)}


def is_used_as(variable: str):
    """Return a test for the resource that tasks know by an environment variable."""

    def test(template: Template, name: str) -> bool:
        return any(target(values.get(variable)) == name for _, values in environments(template))

    return test


def is_dead_letter_queue(template: Template, name: str) -> bool:
    """Return whether a queue receives the messages that another one gives up on."""
    queues = template.of_type(QUEUE).values()
    return any(target(next(template.at(queue, ("RedrivePolicy", "deadLetterTargetArn")))) == name for queue in queues)


def is_public_service(template: Template, name: str) -> bool:
    """Return whether a service is behind a load balancer."""
    return bool(template.properties(name).get("LoadBalancers"))


def is_public_task(template: Template, name: str) -> bool:
    """Return whether a task definition is run by a service behind a load balancer."""
    services = template.of_type(SERVICE)
    return any(
        target(values.get("TaskDefinition")) == name
        for service, values in services.items()
        if is_public_service(template, service)
    )


def is_guardrail(template: Template, name: str) -> bool:
    """Return whether an alarm stops an experiment."""
    return name in guardrails(template)


def guardrails(template: Template) -> set[str]:
    """Return the alarms that stop experiments."""
    return {
        target(value)
        for experiment in template.of_type(EXPERIMENT).values()
        for value in template.at(experiment, ("StopConditions", EACH, "Value"))
    }


def metrics_of(alarm: Mapping[str, Any]) -> set[Any]:
    """Return the names of the metrics that an alarm watches, directly or in its expressions."""
    stats = [
        entry.get("MetricStat", {}).get("Metric", {}).get("MetricName")
        for entry in alarm.get("Metrics") or []
        if isinstance(entry, Mapping)
    ]
    return {name for name in (alarm.get("MetricName"), *stats) if name}
