"""Step Functions in a whole cloud: it calls other services, is called by them, and tells them what happens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.fis_rig import FisRig
from tests.local.ssm_rig import SsmRig, client, put, runbook
from tests.local.states_rig import one
from tests.polling import wait_until

SDK = "arn:aws:states:::aws-sdk:"
ROLE = "arn:aws:iam::000000000000:role/sfn"
ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}


def task(api: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"{SDK}{api}", "Parameters": parameters, **more}


def create(cloud: Any, definition: dict[str, Any], **more: Any) -> str:
    """Create a state machine and return its ARN."""
    return client(cloud, "stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", roleArn=ROLE, definition=json.dumps(definition), **more
    )["stateMachineArn"]


def end(cloud: Any, execution: str) -> dict[str, Any]:
    """Wait until an execution has ended, and describe it."""
    states = client(cloud, "stepfunctions")

    def described() -> dict[str, Any] | None:
        found = states.describe_execution(executionArn=execution)
        return found if found["status"] in ENDED else None

    return wait_until(described, "ended", 30)


def run(cloud: Any, definition: dict[str, Any], given: Any = None) -> dict[str, Any]:
    """Create a state machine, run it, and return the description of the ended execution."""
    machine = create(cloud, definition)
    text = json.dumps({} if given is None else given)
    started = client(cloud, "stepfunctions").start_execution(stateMachineArn=machine, input=text)
    return end(cloud, started["executionArn"])


def history(cloud: Any, execution: str) -> list[dict[str, Any]]:
    """Return all events of an execution, a few a page."""
    pages = client(cloud, "stepfunctions").get_paginator("get_execution_history")
    return [event for page in pages.paginate(executionArn=execution, maxResults=3) for event in page["events"]]


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    """Return code and message of a refusal."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_state_machine_starts_an_experiment_and_reads_its_end(cloud: Any) -> None:
    """Start, wait and poll until it has ended, as a scheduled game day does."""
    template = FisRig(cloud).template()
    token = {"ClientToken.$": "$$.Execution.Name", "ExperimentTemplateId": template, "Tags": {"Run Id": "r 1"}}
    ended = {"Variable": "$.Experiment.State.Status", "StringEquals": "completed", "Next": "Done"}
    states = {
        "Start": task("fis:startExperiment", token, Next="Wait"),
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Look"},
        "Look": task("fis:getExperiment", {"Id.$": "$.Experiment.Id"}, Next="Ended"),
        "Ended": {"Type": "Choice", "Choices": [ended], "Default": "Wait"},
        "Done": {"Type": "Succeed"},
    }
    described = run(cloud, {"StartAt": "Start", "States": states})
    assert described["status"] == "SUCCEEDED", described
    experiment = json.loads(described["output"])["Experiment"]
    assert experiment["Actions"]["wait"]["State"]["Status"] == "completed"
    assert experiment["ExperimentTemplateId"] == template
    # Keys of maps stay as they are, and timestamps are text.
    assert experiment["Tags"] == {"Run Id": "r 1"}
    assert experiment["StartTime"].startswith("20") and experiment["StartTime"].endswith("Z")


@pytest.mark.parametrize(
    ("api", "parameters", "error"),
    [
        ("fis:getExperiment", {"Id": "EXPnothere"}, "Fis.ResourceNotFoundException"),
        ("appconfig:getApplication", {"ApplicationId": "nothere"}, "AppConfig.ResourceNotFoundException"),
    ],
)
def test_an_error_of_fis_has_its_name_in_the_state_machine(
    cloud: Any, api: str, parameters: dict[str, Any], error: str
) -> None:
    described = run(cloud, {"StartAt": "Call", "States": {"Call": task(api, parameters, End=True)}})
    assert (described["status"], described["error"]) == ("FAILED", error)


def test_a_state_machine_lists_and_stops_experiments(cloud: Any) -> None:
    """With parameters in the query and in the path."""
    rig = FisRig(cloud)
    wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT10M"}}
    experiment_id = rig.running(actions={"wait": wait})
    template = rig.get(experiment_id)["experimentTemplateId"]
    states = {
        "List": task("fis:listExperiments", {"ExperimentTemplateId": template}, Next="Stop"),
        "Stop": task("fis:stopExperiment", {"Id.$": "$.Experiments[0].Id"}, End=True),
    }
    described = run(cloud, {"StartAt": "List", "States": states})
    assert described["status"] == "SUCCEEDED", described
    assert rig.end(experiment_id)["state"]["status"] == "stopped"


def test_a_state_machine_starts_an_automation(cloud: Any) -> None:
    rig, mark = SsmRig(cloud), f"/mark/{uuid.uuid4().hex}"
    document = rig.document(runbook(put(mark, "done", "Put")))
    start = task("ssm:startAutomationExecution", {"DocumentName": document}, End=True)
    described = run(cloud, {"StartAt": "Start", "States": {"Start": start}})
    assert described["status"] == "SUCCEEDED", described
    rig.end(json.loads(described["output"])["AutomationExecutionId"])
    assert rig.parameter(mark) == "done"


def test_a_definition_that_cannot_run_is_refused_at_creation(cloud: Any) -> None:
    states = client(cloud, "stepfunctions")
    text = json.dumps({"StartAt": "A", "States": {"A": {**task("fis:nothing", {}), "Next": "Lost"}}})
    code, message = refused(states.create_state_machine, name="bad", roleArn=ROLE, definition=text)
    assert code == "InvalidDefinition"
    assert message.startswith("Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The resource provided")
    answer = states.validate_state_machine_definition(definition=text)
    assert (answer["result"], answer["diagnostics"][0]["location"]) == ("FAIL", "/States/A/Resource")
    assert states.validate_state_machine_definition(definition=json.dumps(one()))["result"] == "OK"


def test_a_machine_has_versions_aliases_and_tags(cloud: Any) -> None:
    states = client(cloud, "stepfunctions")
    first = json.dumps(one(Result=1))
    made = states.create_state_machine(name=f"v-{uuid.uuid4().hex[:8]}", roleArn=ROLE, definition=first, publish=True)
    machine, version = made["stateMachineArn"], made["stateMachineVersionArn"]
    updated = states.update_state_machine(stateMachineArn=machine, definition=json.dumps(one(Result=2)), publish=True)
    route = [{"stateMachineVersionArn": version, "weight": 100}]
    alias = states.create_state_machine_alias(name="live", routingConfiguration=route)["stateMachineAliasArn"]
    outputs = {}
    for arn in (machine, version, updated["stateMachineVersionArn"], alias):
        execution = states.start_execution(stateMachineArn=arn)["executionArn"]
        outputs[arn] = end(cloud, execution)["output"]
    assert list(outputs.values()) == ["2", "1", "2", "1"]
    assert len(states.list_executions(stateMachineArn=alias)["executions"]) == 1
    assert refused(states.delete_state_machine_version, stateMachineVersionArn=version)[0] == "ConflictException"
    assert len(states.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]) == 2
    states.tag_resource(resourceArn=machine, tags=[{"key": "k", "value": "v"}])
    assert states.list_tags_for_resource(resourceArn=machine)["tags"] == [{"key": "k", "value": "v"}]
    states.delete_state_machine(stateMachineArn=machine)
    assert refused(states.describe_state_machine, stateMachineArn=machine)[0] == "StateMachineDoesNotExist"


def test_a_stop_ends_a_parallel_and_its_history_is_paged(cloud: Any) -> None:
    states = client(cloud, "stepfunctions")
    branch = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": True}}}
    machine = create(cloud, one("Parallel", Branches=[branch]))
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    wait_until(lambda: len(history(cloud, execution)) >= 4, "the branch waits")
    states.stop_execution(executionArn=execution, error="Enough", cause="by hand")
    described = states.describe_execution(executionArn=execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Enough", "by hand")
    recorded = history(cloud, execution)
    assert [event["id"] for event in recorded] == list(range(1, len(recorded) + 1))
    assert recorded[-1]["executionAbortedEventDetails"] == {"error": "Enough", "cause": "by hand"}
    newest = states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)["events"]
    assert newest[0]["type"] == "ExecutionAborted"


def test_an_express_machine_answers_at_once(cloud: Any) -> None:
    states = cloud.client("stepfunctions", inject_host_prefix=False)
    machine = create(cloud, one("Fail", Error="E", Cause="c"), type="EXPRESS")
    answer = states.start_sync_execution(stateMachineArn=machine, input="{}")
    assert (answer["status"], answer["error"], answer["cause"]) == ("FAILED", "E", "c")
    standard = create(cloud, one())
    assert refused(states.start_sync_execution, stateMachineArn=standard)[0] == "StateMachineTypeNotSupported"


@pytest.fixture
def queue(cloud: Any) -> Iterator[tuple[str, str]]:
    """A queue of its own: its URL and ARN."""
    sqs = client(cloud, "sqs")
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    yield url, arn
    sqs.delete_queue(QueueUrl=url)


def received(cloud: Any, url: str) -> dict[str, Any]:
    """Take the next message from a queue."""
    sqs = client(cloud, "sqs")
    found = wait_until(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"), "a message")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=found[0]["ReceiptHandle"])
    return json.loads(found[0]["Body"])


def test_a_message_with_a_token_is_answered(cloud: Any, queue: tuple[str, str]) -> None:
    states = client(cloud, "stepfunctions")
    send = one(
        "Task", Resource="arn:aws:states:::sqs:sendMessage.waitForTaskToken", HeartbeatSeconds=60,
        Parameters={"QueueUrl": queue[0], "MessageBody": {"token.$": "$$.Task.Token", "i.$": "$.i"}},
    )  # fmt: skip
    execution = states.start_execution(stateMachineArn=create(cloud, send), input='{"i": 3}')["executionArn"]
    message = received(cloud, queue[0])
    assert message["i"] == 3
    states.send_task_heartbeat(taskToken=message["token"])
    assert refused(states.send_task_success, taskToken=message["token"], output="{")[0] == "InvalidOutput"
    states.send_task_success(taskToken=message["token"], output='{"o": 1}')
    assert json.loads(end(cloud, execution)["output"]) == {"o": 1}
    assert refused(states.send_task_failure, taskToken=message["token"])[0] == "TaskTimedOut"
    assert refused(states.send_task_heartbeat, taskToken="nonsense")[0] == "InvalidToken"


def test_a_rule_starts_a_machine_and_another_hears_of_its_end(cloud: Any, queue: tuple[str, str]) -> None:
    """EventBridge starts the execution, and its status events reach a queue through another rule."""
    events, name = client(cloud, "events"), f"r-{uuid.uuid4().hex[:8]}"
    machine = create(cloud, one(Result={"done": True}))
    heard = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["SUCCEEDED"]}}
    for rule, pattern, target in (
        (f"{name}-start", {"source": [name]}, {"Id": "m", "Arn": machine, "RoleArn": ROLE}),
        (f"{name}-end", heard, {"Id": "q", "Arn": queue[1]}),
    ):
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=rule, Targets=[target])
    events.put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": '{"n": 1}'}])
    event = received(cloud, queue[0])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert json.loads(event["detail"]["input"])["detail"] == {"n": 1}
    assert event["detail"]["output"] == '{"done":true}'


def test_a_rule_hears_of_a_time_out_and_of_a_stop(cloud: Any, queue: tuple[str, str]) -> None:
    """What must be put back when an execution ends badly hangs on these events."""
    events, states, name = client(cloud, "events"), client(cloud, "stepfunctions"), f"r-{uuid.uuid4().hex[:8]}"
    machine = create(cloud, {**one("Wait", SecondsPath="$.s"), "TimeoutSeconds": 1})
    heard = {"stateMachineArn": [machine], "status": ["TIMED_OUT", "ABORTED"]}
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.states"], "detail": heard}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue[1]}])
    late = states.start_execution(stateMachineArn=machine, input='{"s": 60}')["executionArn"]
    stopped = states.start_execution(stateMachineArn=machine, input='{"s": 60}')["executionArn"]
    states.stop_execution(executionArn=stopped, error="Enough", cause="by hand")
    first, second = (received(cloud, queue[0])["detail"] for _ in range(2))
    assert (first["executionArn"], first["status"], first["cause"]) == (stopped, "ABORTED", "by hand")
    assert (second["executionArn"], second["status"]) == (late, "TIMED_OUT")


def test_executions_are_counted_and_logged(cloud: Any) -> None:
    logs, watch = client(cloud, "logs"), client(cloud, "cloudwatch")
    group = f"/states/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=group)
    destination = {"logGroupArn": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"}
    config = {"level": "ALL", "includeExecutionData": False, "destinations": [{"cloudWatchLogsLogGroup": destination}]}
    machine = create(cloud, one("Fail", Error="E"), loggingConfiguration=config)
    execution = client(cloud, "stepfunctions").start_execution(stateMachineArn=machine)["executionArn"]
    assert end(cloud, execution)["status"] == "FAILED"
    written = [json.loads(each["message"]) for each in logs.filter_log_events(logGroupName=group)["events"]]
    assert [each["type"] for each in written] == ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"]
    assert "input" not in written[0]["details"]
    listed = watch.list_metrics(Namespace="AWS/States", Dimensions=[{"Name": "StateMachineArn", "Value": machine}])
    assert {each["MetricName"] for each in listed["Metrics"]} == {
        "ExecutionsStarted", "ExecutionsFailed", "ExecutionTime",
    }  # fmt: skip


TEMPLATE = """
Resources:
  Worker: {Type: AWS::StepFunctions::Activity, Properties: {Name: "%(name)s"}}
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: arn:aws:iam::000000000000:role/sfn
      DefinitionSubstitutions: {Worker: !Ref Worker, Seconds: "%(seconds)s"}
      Definition:
        StartAt: Work
        States: {Work: {Type: Task, Resource: "${Worker}", TimeoutSeconds: 60, Comment: "${Seconds}", End: %(end)s}}
  Version:
    Type: AWS::StepFunctions::StateMachineVersion
    Properties: {StateMachineArn: !Ref Machine, StateMachineRevisionId: !GetAtt Machine.StateMachineRevisionId}
  Alias:
    Type: AWS::StepFunctions::StateMachineAlias
    Properties: {Name: live, RoutingConfiguration: [{StateMachineVersionArn: !Ref Version, Weight: 100}]}
Outputs: {Machine: {Value: !GetAtt Machine.Arn}, Alias: {Value: !Ref Alias}}
"""


def test_a_stack_makes_and_updates_a_machine_and_its_activity(cloud: Any) -> None:
    stacks, states, name = client(cloud, "cloudformation"), client(cloud, "stepfunctions"), f"s-{uuid.uuid4().hex[:8]}"

    def made(**values: str) -> str:
        given = {"name": name, "seconds": "1", "end": "true", **values}
        deploy = stacks.update_stack if values else stacks.create_stack
        deploy(StackName=name, TemplateBody=TEMPLATE % given)
        wait_until(lambda: not described()["StackStatus"].endswith("IN_PROGRESS"), "the stack has ended", 30)
        return described()["StackStatus"]

    def described() -> dict[str, Any]:
        return stacks.describe_stacks(StackName=name)["Stacks"][0]

    assert made() == "CREATE_COMPLETE"
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described()["Outputs"]}
    machine, alias = outputs["Machine"], outputs["Alias"]
    execution = states.start_execution(stateMachineArn=alias, input='"i"')["executionArn"]
    worker = json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"])["States"]["Work"]
    given = states.get_activity_task(activityArn=worker["Resource"], workerName="w")
    states.send_task_success(taskToken=given["taskToken"], output=given["input"])
    assert end(cloud, execution)["output"] == '"i"'
    assert made(seconds="2") == "UPDATE_COMPLETE"
    for arn in (machine, alias):
        assert '"Comment": "2"' in states.describe_state_machine(stateMachineArn=arn)["definition"]
    assert made(end="false").startswith("UPDATE_ROLLBACK")
    stacks.delete_stack(StackName=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "how", "status"),
    [
        ("raise SystemExit(0)", "", "SUCCEEDED"),
        ("raise SystemExit(3)", "", "FAILED"),
        ("import time; time.sleep(600)", "stop", "ABORTED"),
    ],
)
def test_an_ecs_task_is_run_to_its_end_or_stopped(cloud: Any, command: str, how: str, status: str) -> None:
    name = f"sfn-{uuid.uuid4().hex[:6]}"
    ec2, ecs, states = client(cloud, "ec2"), client(cloud, "ecs"), client(cloud, "stepfunctions")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
    ecs.create_cluster(clusterName=name)
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/paperbroker-base:latest"
    container = {"name": "main", "image": image, "command": ["python", "-c", command]}
    ecs.register_task_definition(
        family=name, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        containerDefinitions=[container],
    )  # fmt: skip
    parameters = {
        "Cluster": name, "TaskDefinition": name, "LaunchType": "FARGATE",
        "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": [subnet]}},
    }  # fmt: skip
    machine = create(cloud, one("Task", Resource="arn:aws:states:::ecs:runTask.sync", Parameters=parameters))
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    if how == "stop":
        wait_until(lambda: ecs.list_tasks(cluster=name)["taskArns"], "the task was started")
        states.stop_execution(executionArn=execution)
        wait_until(lambda: not ecs.list_tasks(cluster=name)["taskArns"], "the task was stopped")
    described = end(cloud, execution)
    assert described["status"] == status, described
    if status == "FAILED":
        assert described["error"] == "States.TaskFailed"
        assert json.loads(described["cause"])["Containers"][0]["ExitCode"] == 3


def test_the_services_that_are_served_can_be_called_by_their_api(cloud: Any) -> None:
    """Of every protocol, with names and times in the form of Step Functions."""
    name = uuid.uuid4().hex[:8]
    metric = {"MetricName": "m", "Value": 3.5, "Dimensions": [{"Name": "d", "Value": "v"}]}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("cloudwatch:putMetricData", {"Namespace": name, "MetricData": [metric]}),
        ("ssm:createOpsItem", {"Title": "t", "Source": "s", "Description": "d"}),
        ("sts:getCallerIdentity", {}),
        ("ec2:describeSubnets", {}),
        ("elasticloadbalancingv2:describeLoadBalancers", {}),
        ("cloudformation:describeStacks", {}),
        ("cloudwatchlogs:describeLogGroups", {}),
        ("scheduler:listSchedules", {}),
        ("s3:listBuckets", {}),
        ("sqs:createQueue", {"QueueName": name}),
        ("sfn:listStateMachines", {}),
    ]
    branches = [
        {"StartAt": f"C{at}", "States": {f"C{at}": task(api, parameters, End=True)}}
        for at, (api, parameters) in enumerate(calls)
    ]
    described = run(cloud, one("Parallel", Branches=branches))
    assert described["status"] == "SUCCEEDED", described
    answers = dict(zip((api for api, _ in calls), json.loads(described["output"]), strict=True))
    assert answers["sts:getCallerIdentity"]["Account"] == "000000000000"
    assert answers["sqs:createQueue"]["QueueUrl"].endswith(f"/{name}")
    assert answers["sfn:listStateMachines"]["StateMachines"][0]["CreationDate"].endswith("Z")
