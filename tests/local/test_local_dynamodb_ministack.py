"""Contract tests for the private names of MiniStack's DynamoDB that we patch or read."""

from __future__ import annotations

import inspect
import json
import uuid

import pytest

from tests.local.dynamodb_rig import item, make_table, maximum, until_refused
from tests.polling import wait_until


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("dynamodb", ["_put_item", "_update_item", "_delete_item", "_get_item", "_query", "_scan"]),
        ("dynamodb", ["_batch_write_item", "_batch_get_item", "_transact_write_items", "_transact_get_items"]),
        ("dynamodb", ["_execute_statement", "_batch_execute_statement", "_execute_transaction"]),
        ("dynamodb", ["_create_table", "_update_table", "_tag_resource", "_untag_resource"]),
        ("dynamodb", ["handle_request", "_emit_stream_event", "_add_consumed_capacity", "_apply_replica_updates"]),
        ("dynamodb", ["_paginate_evaluated_items", "_replicate_write", "_set_item", "_remove_item"]),
        ("dynamodb", ["_tables", "_tags", "_INDEX_MEMBERS", "_txn_token_lookup", "_replica_group"]),
        ("dynamodb", ["_extract_key_val", "_normalize_table_name", "_table_description"]),
        ("dynamodb", ["_attribute_value_size", "_number_size_bytes", "_apply_index_projection"]),
        ("cloudwatch", ["_store_datum"]),
        ("cloudformation.provisioners", ["_ddb_create", "_RESOURCE_HANDLERS"]),
    ],
)
def test_the_private_names_exist(module, names):
    """If one is missing, another version of MiniStack is installed: check each patch."""
    loaded = __import__(f"ministack.services.{module}", fromlist=names)
    assert [name for name in names if not hasattr(loaded, name)] == []


def test_every_write_emits_the_old_and_the_new_item():
    """Charges, lagging indexes and replication depend on this call."""
    from ministack.services import dynamodb

    for function in ("_put_item", "_delete_item", "_update_item", "_batch_write_item", "_transact_write_items"):
        assert "_emit_stream_event(" in inspect.getsource(inspect.unwrap(getattr(dynamodb, function))), function
    assert list(inspect.signature(dynamodb._emit_stream_event).parameters) == [
        "table_name", "event_name", "old_item", "new_item", "replicate",
    ]  # fmt: skip
    assert "_replicate_write(table, event_name, old_item, new_item)" in inspect.getsource(dynamodb._emit_stream_event)


def test_one_function_cuts_the_pages_of_query_and_scan():
    from ministack.services import dynamodb

    assert list(inspect.signature(dynamodb._paginate_evaluated_items).parameters) == [
        "items", "limit", "table", "index_name",
    ]  # fmt: skip
    for function in (dynamodb._query, dynamodb._scan):
        assert "_paginate_evaluated_items(" in inspect.getsource(inspect.unwrap(function))


def test_every_function_is_put_back():
    from ministack.services import dynamodb

    from kit.local.dynamodb import DynamoDb

    before = dict(vars(dynamodb))
    service = DynamoDb(1)
    service.install()
    assert vars(dynamodb)["_put_item"] is not before["_put_item"]
    service.uninstall()
    assert {name: value for name, value in vars(dynamodb).items() if value is not before.get(name)} == {}


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ("dynamodb:putItem", "DynamoDB.ThrottlingException"),
        ("aws-sdk:dynamodb:putItem", "DynamoDb.ThrottlingException"),
    ],
)
def test_the_limits_apply_to_step_functions(cloud, resource, error):
    """Both integrations call the API, and name its error."""
    dynamodb, states = cloud.client("dynamodb"), cloud.client("stepfunctions")
    table = make_table(dynamodb, OnDemandThroughput=maximum(write=1))
    until_refused(dynamodb.put_item, TableName=table, Item=item(size=20_000))
    put = {
        "Type": "Task", "Resource": f"arn:aws:states:::{resource}", "End": True,
        "Parameters": {"TableName": table, "Item": {"pk": {"S": "sfn"}}},
    }  # fmt: skip
    arn = states.create_state_machine(
        name=f"limit-{uuid.uuid4().hex[:8]}", roleArn="arn:aws:iam::000000000000:role/r",
        definition=json.dumps({"StartAt": "Put", "States": {"Put": put}}),
    )["stateMachineArn"]  # fmt: skip
    execution = states.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
    found = wait_until(
        lambda: (now := states.describe_execution(executionArn=execution))["status"] != "RUNNING" and now,
        "the execution has ended",
    )
    assert found["status"] == "FAILED"
    assert found["error"].endswith(error)
