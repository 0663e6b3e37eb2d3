"""Tables, throttled calls and waits for the DynamoDB tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}
PAIR = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "N"},
    ],
}
# After this many calls without an error, a test fails.
CALLS_MAX = 400


def provisioned(read: int, write: int) -> dict[str, Any]:
    """Return the settings of a table with provisioned capacity."""
    units = {"ReadCapacityUnits": read, "WriteCapacityUnits": write}
    return {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}


def maximum(*, read: int = -1, write: int = -1) -> dict[str, int]:
    """Return an OnDemandThroughput."""
    return {"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write}


def by_owner(**settings: Any) -> dict[str, Any]:
    """Return the settings of a table with the index `by-owner`."""
    index = {
        "IndexName": "by-owner",
        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        **settings,
    }
    names = ({"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "owner", "AttributeType": "S"})
    return {"GlobalSecondaryIndexes": [index], "AttributeDefinitions": list(names)}


def make_table(dynamodb: Any, **settings: Any) -> str:
    """Create a table with the key `pk`, without saved capacity. Return its name."""
    if settings.get("BillingMode") != "PROVISIONED":
        return make_new_table(dynamodb, **settings)
    # A new table has saved capacity. One that is in use when it gets its limits has none.
    limits = {name: settings.pop(name) for name in ("BillingMode", "ProvisionedThroughput")}
    indexes = settings.get("GlobalSecondaryIndexes") or []
    updates = [
        {"Update": {"IndexName": each["IndexName"], "ProvisionedThroughput": each.pop("ProvisionedThroughput")}}
        for each in indexes
    ]
    name = make_new_table(dynamodb, **settings)
    dynamodb.scan(TableName=name)
    dynamodb.update_table(TableName=name, **limits, **({"GlobalSecondaryIndexUpdates": updates} if updates else {}))
    return name


def make_new_table(dynamodb: Any, **settings: Any) -> str:
    """Create a table with the key `pk`. Return its name."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    dynamodb.create_table(
        **{
            "TableName": name,
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            **(ON_DEMAND if "BillingMode" not in settings else {}),
            **settings,
        }
    )
    return name


def item(pk: str = "a", size: int = 0, **more: Any) -> dict[str, Any]:
    """Return an item of about `size` bytes."""
    return {"pk": {"S": pk}, "fat": {"S": "x" * size}, **more}


def refusal(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Return the error response of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return dict(caught.value.response)


def until_refused(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Repeat a call until it fails. Return the error response."""
    return refused_of(call, lambda number: arguments)


def refused_of(call: Callable[..., Any], arguments: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Repeat a call, with `arguments(number)` each time, until it fails. Return the error response."""
    for number in range(CALLS_MAX):
        try:
            call(**arguments(number))
        except ClientError as error:
            return dict(error.response)
    raise AssertionError(f"{CALLS_MAX} calls, none refused")


def passes(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the call is not refused."""
    try:
        call(**arguments)
    except ClientError:
        return False
    return True


def code(error: dict[str, Any]) -> str:
    """Return the code of an error."""
    return error["Error"]["Code"]
