"""Contract tests for the private names of MiniStack that we patch or read, and for the effects of the patches."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from kit.local.dynamodb.update_expression import syntax_error
from kit.local.main_loop import on_loop
from tests.polling import wait_for_value


def refusal(call, **arguments) -> dict:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response


@pytest.fixture(scope="module")
def table(cloud) -> str:
    name = f"patches-{uuid.uuid4().hex[:8]}"
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    return name


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("ministack.app", ["SERVICE_HANDLERS", "_MAIN_LOOP", "app"]),
        ("ministack.core.router", ["_KNOWN_AWS_SERVICE_NAMES"]),
        ("ministack.services.dynamodb", ["_put_item", "_get_item", "_delete_item", "_update_item"]),
        ("ministack.services.dynamodb", ["_apply_update_expression"]),
        ("ministack.services.sqs", ["_receive_messages_for_esm", "_delete_messages_for_esm", "_act_send_message"]),
        ("ministack.services.cloudwatch_logs", ["_start_query", "_split_insights_pipes", "_compile_insights_filter"]),
        ("ministack.services.cloudwatch_logs", ["_put_metric_filter"]),
        ("ministack.services.lambda_svc", ["_execute_function_dispatch", "_emit_lambda_logs"]),
        ("ministack.services.lambda_svc", ["_functions", "_func_arn", "_effective_func_record_for_qualifier"]),
        ("ministack.services.ec2", ["_vpc_endpoints", "_prefix_lists", "_resolve_aws_pl", "_resolve_aws_pl_by_id"]),
        ("ministack.services.s3", ["_buckets", "_put_object"]),
        ("ministack.services.alb", ["_lbs", "_lb_attrs", "_tags"]),
        ("ministack.services.ecr", ["_repositories", "_images", "_layer_blobs", "_create_repository", "_put_image"]),
        ("ministack.services.cloudformation.provisioners", ["_RESOURCE_HANDLERS"]),
    ],
)
def test_the_private_names_exist(module, names):
    """If one is missing, another version of MiniStack is installed: check each patch."""
    loaded = __import__(module, fromlist=names)
    assert [name for name in names if not hasattr(loaded, name)] == []


# ---- refusals ----


def test_an_unserved_service_is_refused_at_once_and_by_name(cloud):
    """Without the patch the first such call blocks the server for seconds and costs 400 MB."""
    begun = time.monotonic()
    error = refusal(cloud.client("synthetics").describe_canaries)
    assert "does not serve 'synthetics'" in error["Error"]["Message"]
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    "expression", ["SET a = :v b = :v", "SET a :v", "SET a = :v, ,", "ADD a", "SET a = :v SET b = :v"]
)
def test_a_malformed_update_is_refused_and_changes_nothing(cloud, table, expression):
    dynamodb = cloud.client("dynamodb")
    key = {"pk": {"S": uuid.uuid4().hex}}
    update = {
        "TableName": table, "Key": key, "UpdateExpression": expression, "ExpressionAttributeValues": {":v": {"N": "1"}},
    }  # fmt: skip
    if ":v" not in expression:
        del update["ExpressionAttributeValues"]
    assert refusal(dynamodb.update_item, **update)["Error"]["Code"] == "ValidationException"
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)


def test_a_malformed_update_in_a_transaction_is_refused(cloud, table):
    dynamodb = cloud.client("dynamodb")
    key = {"pk": {"S": uuid.uuid4().hex}}
    update = {
        "TableName": table,
        "Key": key,
        "UpdateExpression": "SET a :v",
        "ExpressionAttributeValues": {":v": {"N": "1"}},
    }
    refusal(dynamodb.transact_write_items, TransactItems=[{"Update": update}])
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)


def test_a_valid_update_is_applied(cloud, table):
    dynamodb = cloud.client("dynamodb")
    key = {"pk": {"S": uuid.uuid4().hex}}
    for _ in range(2):
        dynamodb.update_item(
            TableName=table, Key=key, UpdateExpression="SET #a = if_not_exists(#a, :zero) + :one, b = :one",
            ExpressionAttributeNames={"#a": "a"}, ExpressionAttributeValues={":zero": {"N": "0"}, ":one": {"N": "1"}},
        )  # fmt: skip
    assert dynamodb.get_item(TableName=table, Key=key)["Item"]["a"] == {"N": "2"}


def test_insights_refuses_stages_that_it_does_not_evaluate(cloud):
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/patches")
    window = {"logGroupName": "/patches", "startTime": 0, "endTime": int(time.time())}
    for query in (
        "stats count(*) by bin(1m)",
        "fields @message | filter latency > 100",
        "fields orderId",
        "fields @message | parse @message '*' as x",
    ):
        error = refusal(logs.start_query, **window, queryString=query)
        assert error["Error"]["Code"] == "MalformedQueryException", query
    assert logs.start_query(**window, queryString="fields @message | sort @timestamp desc | limit 5")["queryId"]


def test_metric_filters_are_refused(cloud):
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/patches-filter")
    metric = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    error = refusal(
        logs.put_metric_filter,
        logGroupName="/patches-filter",
        filterName="f",
        filterPattern="",
        metricTransformations=[metric],
    )
    assert "PutMetricFilter: is not served here" in error["Error"]["Message"]


def test_athena_does_not_invent_rows(cloud):
    """Without duckdb a query fails; with its defaults MiniStack answers SUCCEEDED with `mock_value`."""
    athena = cloud.client("athena")
    started = athena.start_query_execution(
        QueryString="SELECT 1 FROM nowhere", ResultConfiguration={"OutputLocation": "s3://nowhere/"}
    )
    query = started["QueryExecutionId"]
    wait_for_value(
        lambda: athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]["State"], "FAILED"
    )


# ---- races ----


def test_a_function_called_in_a_worker_thread_runs_on_the_loop():
    """The caller gets the result or the error."""

    async def scenario() -> list[object]:
        loop = asyncio.get_running_loop()
        ran_in: list[object] = []

        def access(value: int) -> int:
            ran_in.append(threading.current_thread())
            if value < 0:
                raise ValueError(value)
            return value + 1

        wrapped = on_loop(lambda: loop, access)
        assert wrapped(1) == 2
        assert await asyncio.to_thread(wrapped, 2) == 3
        with pytest.raises(ValueError, match="-1"):
            await asyncio.to_thread(wrapped, -1)
        return ran_in

    assert set(asyncio.run(scenario())) == {threading.main_thread()}


def test_concurrent_increments_by_step_functions_are_all_kept(cloud, table):
    """Each item of the Map calls the API in a thread of its own."""
    dynamodb, states = cloud.client("dynamodb"), cloud.client("stepfunctions")
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "sfn"}, "n": {"N": "0"}, "fat": {"S": "x" * 100_000}})
    add = {
        "Type": "Task", "Resource": "arn:aws:states:::dynamodb:updateItem", "End": True,
        "Parameters": {
            "TableName": table, "Key": {"pk": {"S": "sfn"}}, "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        },
    }  # fmt: skip
    each = {"StartAt": "Add", "States": {"Add": add}}
    definition = {"StartAt": "All", "States": {"All": {"Type": "Map", "ItemProcessor": each, "End": True}}}
    arn = states.create_state_machine(
        name=f"patches-{uuid.uuid4().hex[:8]}",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::000000000000:role/r",
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, input=json.dumps(list(range(60))))["executionArn"]
    wait_for_value(lambda: states.describe_execution(executionArn=execution)["status"], "SUCCEEDED")
    assert dynamodb.get_item(TableName=table, Key={"pk": {"S": "sfn"}})["Item"]["n"] == {"N": "60"}


# ---- update expressions ----


@pytest.mark.parametrize(
    "expression",
    [
        "SET a = :v",
        "set a = :v, #b.c[0].d = a + :v remove e, f[1] add g :v delete h :v",
        "SET a = list_append(if_not_exists(a, :empty), :v)",
        "SET n = (if_not_exists(n, :zero) - :v)",
        "ADD filledQty :q, #t :q",
        "SET a=:v,b=:v",
    ],
)
def test_a_valid_update_expression_is_accepted(expression):
    assert syntax_error(expression) == ""


@pytest.mark.parametrize(
    "expression",
    [
        "", "SET", "SET a", "SET a =", "SET = :v", "SET a = :v,", "SET a = :v b", "PUT a = :v", "SET a = :v + :v + :v",
        "SET a = size(b)", "SET a = if_not_exists(a)", "REMOVE a = :v", "ADD a = :v", "SET a. = :v", "SET a[x] = :v",
        "SET a = :v * :v", "SET a = (:v", "SET a == :v", "SET a = :v; REMOVE b",
    ],
)  # fmt: skip
def test_an_invalid_update_expression_is_refused(expression):
    assert syntax_error(expression) != ""
