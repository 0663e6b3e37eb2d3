"""What the local AWS once answered without doing it is refused by name, by its API and in a stack."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.test_local_cloudformation_properties import create

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
ROLE = "arn:aws:iam::000000000000:role/r"
SCHEDULE = {
    "Name": "s", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": QUEUE, "RoleArn": ROLE},
}  # fmt: skip
SERVICE = {"serviceName": "s", "taskDefinition": "t", "desiredCount": 1}


@pytest.mark.parametrize(
    ("service", "operation", "request_", "words"),
    [
        ("codebuild", "start_build", {"projectName": "p"}, "does not serve 'codebuild'"),
        ("elasticache", "create_cache_cluster", {"CacheClusterId": "c"}, "does not serve 'elasticache'"),
        ("route53", "list_hosted_zones", {}, "does not serve 'route53'"),
        ("xray", "get_trace_summaries", {"StartTime": 1, "EndTime": 2}, "does not serve 'xray'"),
        ("synthetics", "describe_canaries", {}, "does not serve 'synthetics'"),
        ("codepipeline", "list_pipelines", {}, "does not serve 'codepipeline'"),
        ("ecs", "create_service", {**SERVICE, "deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "'BLUE_GREEN'"),
        ("ecs", "create_service", {**SERVICE, "deploymentConfiguration": {"strategy": "CANARY"}}, "'CANARY'"),
        ("ecs", "create_service", {**SERVICE, "deploymentController": {"type": "CODE_DEPLOY"}}, "'CODE_DEPLOY'"),
        ("ecs", "create_service", {**SERVICE, "deploymentController": {"type": "EXTERNAL"}}, "'EXTERNAL'"),
        ("sns", "subscribe", {"TopicArn": "arn:t", "Protocol": "sms", "Endpoint": "+31"}, "'sms' is not served here"),
        ("sns", "subscribe", {"TopicArn": "arn:t", "Protocol": "firehose"}, "'firehose' is not served here"),
        ("logs", "start_query", {"logGroupName": "g", "startTime": 1, "endTime": 2,
                                 "queryString": "stats count(*) by bin(5m)"}, "does not evaluate"),
        ("scheduler", "create_schedule", {**SCHEDULE, "ScheduleExpression": "cron(1 2 3)"}, "Invalid Schedule"),
        ("scheduler", "create_schedule", {**SCHEDULE, "ScheduleExpressionTimezone": "Europe/Paris"}, "Timezone"),
        ("cloudwatch", "put_dashboard", {"DashboardName": "d", "DashboardBody": "{'widgets'}"}, "valid JSON"),
        ("lambda", "create_event_source_mapping", {"FunctionName": "f", "EventSourceArn": QUEUE,
                                                   "MaximumBatchingWindowInSeconds": 5}, "only 0"),
        ("lambda", "create_event_source_mapping", {"FunctionName": "f", "EventSourceArn": STREAM},
         "is not served here"),
        ("lambda", "create_alias", {"FunctionName": "f", "Name": "a", "FunctionVersion": "1",
                                    "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}, "RoutingConfig"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_operation_that_does_nothing_is_refused(
    cloud: Any, service: str, operation: str, request_: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(cloud.client(service), operation)(**request_)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"DeploymentConfiguration": {"Strategy": "BLUE_GREEN"}}, "BLUE_GREEN"),
        ({"DeploymentConfiguration": {"Strategy": "LINEAR"}}, "LINEAR"),
        ({"DeploymentController": {"Type": "CODE_DEPLOY"}}, "CODE_DEPLOY"),
    ],
)
def test_a_deployment_strategy_that_is_not_served_fails_the_stack(
    cloud: Any, properties: dict[str, Any], words: str
) -> None:
    resource = {"Type": "AWS::ECS::Service", "Properties": {"ServiceName": "s", "TaskDefinition": "t", **properties}}
    _, reasons = create(cloud, f"strategy-{words.lower().replace('_', '-')}", {"S": resource})
    assert any(words in reason and "not served" in reason for reason in reasons), reasons
