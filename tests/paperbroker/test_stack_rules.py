"""The stack keeps every rule, and for every rule there is an edit of the template that only this kind of rule finds."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest

from kit import stack_rules
from kit.errors import UsageError
from kit.stack_rules import Violation
from kit.stack_rules.permissions import NEEDED
from paperbroker.protocols.limits import KEEP_ALIVE_S

ROOT = Path(__file__).parents[2]
STACK = (ROOT / "paperbroker" / "deploy" / "stack.yaml").read_text()
QUEUE = "  Queue:\n    Type: AWS::SQS::Queue\n    Properties:\n      FifoQueue: true\n"
API_SERVICE = "      ServiceName: api\n      Cluster: !Ref Cluster\n"
ORDERS = "  OrdersTable:\n    Type: AWS::DynamoDB::Table\n    Properties:\n"
APPLIED = "      TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}\n"
GROUP_ATTRIBUTE = "        - {Key: deregistration_delay.timeout_seconds, Value: '5'}\n"
LATENCY = "      MetricName: LatencyMs\n"
SILENCE = "      Statistic: SampleCount\n      Period: 10\n"
ERRORS = "      AlarmName: !Sub '${AWS::StackName}-guardrail-errors'\n"
TASK_GROUP = "      GroupDescription: The load balancer to the tasks\n"
TASKS_STATEMENT = (
    "              - Sid: StopOwnTasks\n                Effect: Allow\n                Action: ecs:StopTask\n"
)

# Edits of the template as (old text, new text); each stands for a change that somebody could make in good faith.
EDITS: tuple[tuple[str, str], ...] = (
    # What serves requests
    ("HealthCheckPath: /readyz", "HealthCheckPath: /healthz"),
    ("      HealthCheckPath: /readyz\n", ""),
    ("      HealthCheckPath: /readyz\n", "      HealthCheckPath: /readyz\n      HealthCheckEnabled: false\n"),
    ("      HealthCheckPath: /readyz\n", "      HealthCheckPath: /readyz\n      HealthCheckPort: '9090'\n"),
    ("      HealthCheckPath: /readyz\n", "      HealthCheckPath: /readyz\n      HealthCheckProtocol: TCP\n"),
    ("HealthCheckIntervalSeconds: 5", "HealthCheckIntervalSeconds: 30"),
    ("HealthCheckTimeoutSeconds: 2", "HealthCheckTimeoutSeconds: 20"),
    ("HealthyThresholdCount: 2", "HealthyThresholdCount: 10"),
    ("      UnhealthyThresholdCount: 2", "      UnhealthyThresholdCount: 10"),
    ("Matcher: {HttpCode: '200'}", "Matcher: {HttpCode: 200-499}"),
    ("timeout_seconds, Value: '5'}", "timeout_seconds, Value: '0'}"),
    ("      TargetGroupAttributes:\n" + GROUP_ATTRIBUTE, ""),
    (GROUP_ATTRIBUTE, GROUP_ATTRIBUTE + "        - {Key: stickiness.enabled, Value: 'true'}\n"),
    (GROUP_ATTRIBUTE, GROUP_ATTRIBUTE + "        - {Key: load_balancing.cross_zone.enabled, Value: 'false'}\n"),
    (GROUP_ATTRIBUTE, GROUP_ATTRIBUTE + "        - {Key: slow_start.duration_seconds, Value: '600'}\n"),
    ("idle_timeout.timeout_seconds, Value: '60'", "idle_timeout.timeout_seconds, Value: '5'"),
    ("idle_timeout.timeout_seconds, Value: '60'", "idle_timeout.timeout_seconds, Value: '75'"),
    ("{Key: idle_timeout.timeout_seconds, Value: '60'}",
     "{Key: routing.http.desync_mitigation_mode, Value: monitor}"),
    ("      Type: application\n", "      Type: network\n"),
    ("DefaultActions: [{Type: forward, TargetGroupArn: !Ref TargetGroup}]",
     "DefaultActions: [{Type: fixed-response, FixedResponseConfig: {StatusCode: '200'}}]"),
    ("CidrIp: !Ref ClientCidr", "CidrIp: 0.0.0.0/0"),
    ("Subnets: [!Ref PublicSubnetA, !Ref PublicSubnetB]", "Subnets: [!Ref PublicSubnetA, !Ref PublicSubnetA]"),
    ("{Subnets: [!Ref AppSubnetA, !Ref AppSubnetB]", "{Subnets: [!Ref AppSubnetA]"),
    ("SourceSecurityGroupId: !Ref LoadBalancerSecurityGroup", "CidrIp: 0.0.0.0/0"),
    ("      Protocol: HTTP\n      Port: 8080\n", "      Protocol: HTTP\n      Port: 8081\n"),
    # Ways out
    ("AssignPublicIp: ENABLED", "AssignPublicIp: DISABLED"),
    (", AssignPublicIp: ENABLED", ""),
    ("DestinationCidrBlock: 0.0.0.0/0", "DestinationCidrBlock: 10.0.0.0/8"),
    ("GatewayId: !Ref InternetGateway}\n  # Tasks", "GatewayId: !Ref NatGateway}\n  # Tasks"),
    ("{SubnetId: !Ref AppSubnetB, RouteTableId: !Ref PublicRoutes}",
     "{SubnetId: !Ref AppSubnetA, RouteTableId: !Ref PublicRoutes}"),
    ("SubnetId: !Ref PublicSubnetA, RouteTableId", "SubnetId: !Ref AppSubnetA, RouteTableId"),
    (TASK_GROUP, TASK_GROUP + "      SecurityGroupEgress: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, "
     "CidrIp: 10.42.0.0/16}]\n"),
    (TASK_GROUP, TASK_GROUP + "      SecurityGroupEgress: []\n"),
    ("      GroupDescription: Clients to the load balancer\n", "      GroupDescription: Clients to the load balancer\n"
     "      SecurityGroupEgress: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0}]\n"),
    # Tables and queues
    (ORDERS + "      BillingMode: PAY_PER_REQUEST\n", ORDERS + "      BillingMode: PROVISIONED\n"),
    (ORDERS, ORDERS + "      OnDemandThroughput: {MaxWriteRequestUnits: 100}\n"),
    ("      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: !Ref PointInTimeRecovery}\n", ""),
    (ORDERS, ORDERS + "      TimeToLiveSpecification: {AttributeName: createdAt, Enabled: true}\n"),
    (APPLIED, ""),
    (APPLIED, APPLIED.replace("true", "false")),
    (APPLIED, APPLIED.replace("ttl", "expiresAt")),
    (QUEUE, QUEUE.replace("true", "false")),
    ("ContentBasedDeduplication: true", "ContentBasedDeduplication: false"),
    ("      DeduplicationScope: messageGroup\n", ""),
    ("      FifoThroughputLimit: perMessageGroupId\n", ""),
    ("maxReceiveCount: 100", "maxReceiveCount: 3"),
    ("VisibilityTimeout: 8", "VisibilityTimeout: 900"),
    ("VisibilityTimeout: 8", "VisibilityTimeout: 0"),
    (QUEUE, QUEUE + "      MessageRetentionPeriod: 3600\n"),
    (QUEUE, QUEUE + "      DelaySeconds: 5\n"),
    (QUEUE, QUEUE + "      MaximumMessageSize: 1024\n"),
    ("ReceiveMessageWaitTimeSeconds: 5", "ReceiveMessageWaitTimeSeconds: 0"),
    ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 86400"),
    ("{Name: PB_LEDGER_TABLE, Value: !Ref LedgerTable}", "{Name: PB_LEDGER_TABLE, Value: !Ref OutboxTable}"),
    # Services and tasks
    ("ApiTasks: {Type: Number, Default: 4", "ApiTasks: {Type: Number, Default: 1"),
    ("{Enable: true, Rollback: true}", "{Enable: false, Rollback: false}"),
    ("MinimumHealthyPercent: 100, MaximumPercent: 200", "MinimumHealthyPercent: 0, MaximumPercent: 100"),
    ("AvailabilityZoneRebalancing: ENABLED", "AvailabilityZoneRebalancing: DISABLED"),
    (API_SERVICE, API_SERVICE + "      SchedulingStrategy: DAEMON\n"),
    ("PropagateTags: SERVICE", "PropagateTags: TASK_DEFINITION"),
    ("      HealthCheckGracePeriodSeconds: !Ref ApiGraceSeconds\n", ""),
    ("      LoadBalancers:\n        - {ContainerName: api, ContainerPort: 8080, TargetGroupArn: !Ref TargetGroup}\n",
     ""),
    ("        - Name: api\n", "        - Name: api\n          Privileged: true\n"),
    ("NetworkMode: awsvpc", "NetworkMode: host"),
    ("PidMode: task", "PidMode: host"),
    ("EnableFaultInjection: true", "EnableFaultInjection: false"),
    ("Memory: '1024'", "Memory: '128'"),
    ("RetentionInDays: 14", "RetentionInDays: 1"),
    ("            Retries: !Ref MatcherHealthRetries\n", "            Retries: 10\n"),
    ("/healthz', timeout=2)", "/', timeout=2)"),
    ("StopTimeout: 20", "StopTimeout: 2"),
    ("{Name: PORT, Value: '8080'}", "{Name: BROKER_SECRET, Value: hunter2}"),
    ("Image: !Ref ImageUri", "Image: paperbroker:latest"),
    # Permissions
    ("Action: ['sqs:ChangeMessageVisibility', ", "Action: ['sqs:*', "),
    ("Resource: !GetAtt Queue.Arn", "Resource: '*'"),
    ("table/${AWS::StackName}-*'", "table/*'"),
    (TASKS_STATEMENT, TASKS_STATEMENT.replace("Action:", "NotAction:")),
    ("                Condition: {StringEquals: {'aws:ResourceTag/RunId': !Ref RunId}}\n", ""),
    ("Condition: {StringEquals: {'cloudwatch:namespace': PaperBroker}}", "Condition: {}"),
    ("{StringEquals: {'aws:ResourceTag/RunId': !Ref RunId}}", "{StringLike: {'aws:ResourceTag/RunId': '*'}}"),
    ("{StringEquals: {'aws:ResourceTag/RunId': !Ref RunId}}", "{StringEqualsIfExists: {'aws:ResourceTag/RunId': a}}"),
    ("Principal: {Service: ecs-tasks.amazonaws.com}", "Principal: {AWS: '*'}"),
    (", Condition: {StringEquals: {'aws:SourceAccount': !Ref AWS::AccountId}}}]", "}]"),
    ("iam::aws:policy/AmazonSSMManagedInstanceCore", "iam::aws:policy/AdministratorAccess"),
    ("'dynamodb:ConditionCheckItem',", ""),
    ("table/${AWS::StackName}-*'", "table/${OrdersTable}'"),
    ("TaskRoleArn: !GetAtt TaskRole.Arn", "TaskRoleArn: arn:aws:iam::123456789012:role/admin"),
    # Guardrails and experiments
    (LATENCY, LATENCY + "      ActionsEnabled: false\n"),
    ("      AlarmActions: [!Ref AlarmTopic]\n", ""),
    (LATENCY, LATENCY + "      Unit: Seconds\n"),
    (SILENCE, SILENCE + "      Unit: Milliseconds\n"),
    ("            Stat: Sum\n", "            Stat: Sum\n            Unit: Percent\n"),
    (LATENCY, LATENCY + "      EvaluateLowSampleCountPercentile: ignore\n"),
    ("DatapointsToAlarm: !Ref GuardrailPeriods", "DatapointsToAlarm: 30"),
    (LATENCY, LATENCY + "      ThresholdMetricId: band\n"),
    ("EvaluationPeriods: !Ref GuardrailPeriods", "EvaluationPeriods: 30"),
    ("Threshold: !Ref GuardrailP95Ms", "Threshold: 3000"),
    ("GuardrailP95Ms: {Type: Number, Default: 3000", "GuardrailP95Ms: {Type: Number, Default: 60000"),
    ("Threshold: !Ref GuardrailErrorRate", "Threshold: 0.3"),
    ("GuardrailErrorRate: {Type: Number, Default: 0.3", "GuardrailErrorRate: {Type: Number, Default: 1"),
    ("      Threshold: 1\n", "      Threshold: 0\n"),
    ("ExtendedStatistic: p95", "ExtendedStatistic: p50"),
    ("Statistic: SampleCount", "Statistic: Sum"),
    ("      ExtendedStatistic: p95\n      Period: 10\n", "      ExtendedStatistic: p95\n      Period: 300\n"),
    (SILENCE, SILENCE.replace("10", "300")),
    ("      Threshold: !Ref GuardrailP95Ms\n      ComparisonOperator: GreaterThanThreshold",
     "      Threshold: !Ref GuardrailP95Ms\n      ComparisonOperator: LessThanThreshold"),
    ("      Threshold: !Ref GuardrailErrorRate\n      ComparisonOperator: GreaterThanThreshold",
     "      Threshold: !Ref GuardrailErrorRate\n      ComparisonOperator: LessThanThreshold"),
    ("ComparisonOperator: LessThanThreshold", "ComparisonOperator: GreaterThanThreshold"),
    ("TreatMissingData: breaching", "TreatMissingData: notBreaching"),
    ("      ComparisonOperator: GreaterThanThreshold\n      TreatMissingData: notBreaching",
     "      ComparisonOperator: GreaterThanThreshold\n      TreatMissingData: breaching"),
    ("            Period: 10\n", "            Period: 300\n"),
    ("            Stat: Sum\n", "            Stat: Average\n"),
    ("Expression: errors / requests", "Expression: errors / requests / 100"),
    ("      Description: No fault is injected\n",
     "      Description: No fault is injected\n      ExperimentOptions: {EmptyTargetResolutionMode: skip}\n"),
    ("MetricName: Http5xx, Dimensions: [{Name: Env", "MetricName: Http5xx, Dimensions: [{Name: Environment"),
    ("      StopConditions: [{Source: 'aws:cloudwatch:alarm', Value: !GetAtt GuardrailLatency.Arn},\n"
     "        {Source: 'aws:cloudwatch:alarm', Value: !GetAtt GuardrailErrors.Arn}, ", "      StopConditions: ["),
    ("ResourceTags: {App: PaperBroker, RunId: !Ref RunId}", "ResourceTags: {App: PaperBroker}"),
    ("onFailure: 'step:Settle', onCancel: 'step:Settle'", "onFailure: Abort, onCancel: 'step:Settle'"),
    ("AllowedPattern: '(?!prod)[a-z0-9]", "AllowedPattern: '[a-z0-9]"),
)  # fmt: skip


def _all(old: str, new: str) -> str:
    assert old in STACK, old
    return STACK.replace(old, new)


def test_the_stack_keeps_every_rule():
    assert [str(found) for found in stack_rules.violations(STACK)] == []


@functools.cache
def _found(old: str, new: str) -> tuple[Violation, ...]:
    return tuple(stack_rules.violations(_all(old, new)))


def test_tasks_keep_idle_connections_for_longer_than_the_load_balancer():
    """The load balancer may otherwise send a request on a connection that its task is closing, which gives 502."""
    refused = f"idle_timeout.timeout_seconds, Value: '{KEEP_ALIVE_S}'"
    assert _found("idle_timeout.timeout_seconds, Value: '60'", refused)


@pytest.mark.parametrize(("old", "new"), EDITS, ids=lambda text: text[:40])
def test_an_edit_that_breaks_a_promise_is_found(old: str, new: str):
    found = _found(old, new)
    assert found and all(one.place and one.detail for one in found)


def test_every_rule_finds_one_of_the_edits():
    """A rule that none of them breaks might be one that cannot fail."""
    awake = {one.rule for old, new in EDITS for one in _found(old, new)}
    assert {rule.name for rule in stack_rules.RULES} - awake == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LATENCY, LATENCY + "      Unit: Milliseconds\n"),
        (TASK_GROUP, TASK_GROUP + "      SecurityGroupEgress: [{IpProtocol: '-1', CidrIp: 0.0.0.0/0}]\n"),
        (TASK_GROUP, TASK_GROUP + "      SecurityGroupEgress: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, "
         "CidrIp: 0.0.0.0/0}]\n"),
    ],
)  # fmt: skip
def test_an_edit_that_breaks_nothing_is_accepted(old: str, new: str):
    assert [str(one) for one in stack_rules.violations(_all(old, new))] == []


def test_tasks_behind_a_nat_gateway_need_no_public_address():
    hidden = _all("AssignPublicIp: ENABLED", "AssignPublicIp: DISABLED")
    hidden = hidden.replace(
        "{SubnetId: !Ref AppSubnetA, RouteTableId: !Ref PublicRoutes}",
        "{SubnetId: !Ref AppSubnetA, RouteTableId: !Ref PrivateRoutes}",
    )
    hidden = hidden.replace(
        "{SubnetId: !Ref AppSubnetB, RouteTableId: !Ref PublicRoutes}",
        "{SubnetId: !Ref AppSubnetB, RouteTableId: !Ref PrivateRoutes}",
    )
    hidden = hidden.replace(
        "Resources:\n",
        "Resources:\n"
        "  Nat: {Type: 'AWS::EC2::NatGateway', Properties: {SubnetId: !Ref PublicSubnetA}}\n"
        "  PrivateRoutes: {Type: 'AWS::EC2::RouteTable', Properties: {VpcId: !Ref Vpc}}\n"
        "  PrivateRoute: {Type: 'AWS::EC2::Route', Properties: {RouteTableId: !Ref PrivateRoutes, "
        "DestinationCidrBlock: 0.0.0.0/0, NatGatewayId: !Ref Nat}}\n",
        1,
    )
    assert [str(one) for one in stack_rules.violations(hidden)] == []


def test_a_threshold_behind_a_mapping_is_judged_by_what_it_resolves_to():
    hidden = _all("VisibilityTimeout: 8", "VisibilityTimeout: !FindInMap [Limits, Queue, Timeout]")
    hidden = hidden.replace("Mappings:\n", "Mappings:\n  Limits:\n    Queue: {Timeout: 900}\n", 1)
    assert [one.rule for one in stack_rules.violations(hidden)] == ["Queue.VisibilityTimeout"]


def test_both_sides_of_a_condition_are_judged():
    either = _all("VisibilityTimeout: 8", "VisibilityTimeout: !If [BreaksFirst, 8, 600]")
    assert [one.rule for one in stack_rules.violations(either)] == ["Queue.VisibilityTimeout"]


@pytest.mark.parametrize(
    "text", ["", "[]", "Resources: 3", "Resources: {A: 1}", "a: [", "Resources: {A: {}}\nMappings: 1"]
)
def test_what_is_no_template_is_refused(text: str):
    with pytest.raises(UsageError, match="stack template"):
        stack_rules.violations(text)


def test_a_template_of_an_odd_shape_breaks_rules_instead_of_crashing():
    odd = _all("Principal: {Service: ecs-tasks.amazonaws.com}", "Principal: 3")
    odd = odd.replace("      Policies:\n", "      Policies: 7\n      Ignored:\n")
    assert stack_rules.violations(odd)


# The name of a method of botocore's clients and the IAM actions that it needs.
CALLS: dict[str, set[str]] = {
    "transact_write_items": {
        "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem",
    },
    "get_item": {"dynamodb:GetItem"},
    "query": {"dynamodb:Query"},
    "scan": {"dynamodb:Scan"},
    "batch_write_item": {"dynamodb:BatchWriteItem"},
    "send_message_batch": {"sqs:SendMessage"},
    "receive_message": {"sqs:ReceiveMessage"},
    "delete_message_batch": {"sqs:DeleteMessage"},
    "get_queue_attributes": {"sqs:GetQueueAttributes"},
    "put_metric_data": {"cloudwatch:PutMetricData"},
    "get_latest_configuration": {"appconfig:GetLatestConfiguration"},
    "start_configuration_session": {"appconfig:StartConfigurationSession"},
}  # fmt: skip


def test_the_needed_permissions_are_those_of_the_calls_that_paperbroker_makes():
    calls = {name for path in sorted((ROOT / "paperbroker").rglob("*.py")) for name in _client_calls(path)}
    assert calls <= set(CALLS), f"calls without a known permission: {sorted(calls - set(CALLS))}"
    assert set().union(*(CALLS[name] for name in calls)) == set(NEEDED)


def _client_calls(path: Path) -> set[str]:
    """Names of methods that a module calls on attributes that hold a client."""
    holders = {"_dynamodb", "_sqs", "_cloudwatch", "_appconfigdata"}
    return {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _holder(node.func.value) in holders
    }


def _holder(node: Any) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ""
