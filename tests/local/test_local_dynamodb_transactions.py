"""Conflicts of transactions: which calls are refused, with which error, and that a retry succeeds."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.dynamodb_rig import code, item, make_table

WRITERS = 64
# Attempts of one of 64 writers, and its wait between two attempts. All of them write one item.
ATTEMPTS_MAX = 400
BACKOFF_S_MAX = 0.4
ROUNDS_MAX = 60


def add_one(table: str, pk: str, version: int) -> dict[str, Any]:
    """Return a conditional increment, as the matcher's fencing uses it."""
    return {
        "Update": {
            "TableName": table,
            "Key": {"pk": {"S": pk}},
            "UpdateExpression": "SET version = :next",
            "ConditionExpression": "version = :now OR attribute_not_exists(version)"
            if not version
            else "version = :now",
            "ExpressionAttributeValues": {":now": {"N": str(version)}, ":next": {"N": str(version + 1)}},
        }
    }


def put(table: str, pk: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": item(pk), **more}}


def at_once(calls: list[Callable[[], Any]]) -> list[str]:
    """Start all calls together. Return for each `ok`, or the error's code and reasons."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> str:
        barrier.wait()
        try:
            call()
        except ClientError as error:
            reasons = [each["Code"] for each in error.response.get("CancellationReasons", [])]
            return " ".join([error.response["Error"]["Code"], *reasons])
        return "ok"

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def until_seen(wanted: str, calls: Callable[[int], list[Callable[[], Any]]]) -> list[str]:
    """Repeat the calls until one ends as wanted, because two calls do not overlap every time."""
    for number in range(ROUNDS_MAX):
        outcomes = at_once(calls(number))
        if wanted in outcomes:
            return outcomes
    raise AssertionError(f"{ROUNDS_MAX} races, none with {wanted!r}; the last: {outcomes}")


def test_of_64_conflicting_transactions_one_wins_at_a_time_and_retries_succeed(dynamodb):
    """Every writer increments once; the counter and the log must agree in the end."""
    table = make_table(dynamodb)
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "market"}, "version": {"N": "0"}})
    seen: set[str] = set()

    def commit(writer: int) -> None:
        for _ in range(ATTEMPTS_MAX):
            read = dynamodb.get_item(TableName=table, Key={"pk": {"S": "market"}}, ConsistentRead=True)
            now = int(read["Item"]["version"]["N"])
            log = put(table, f"event-{now}", ConditionExpression="attribute_not_exists(pk)")
            try:
                dynamodb.transact_write_items(TransactItems=[add_one(table, "market", now), log])
            except ClientError as error:
                assert code(error.response) == "TransactionCanceledException"
                seen.update(each["Code"] for each in error.response["CancellationReasons"])
                time.sleep(random.uniform(0, BACKOFF_S_MAX))
                continue
            return
        raise AssertionError(f"writer {writer}: {ATTEMPTS_MAX} attempts")

    assert set(at_once([lambda writer=writer: commit(writer) for writer in range(WRITERS)])) == {"ok"}
    read = dynamodb.get_item(TableName=table, Key={"pk": {"S": "market"}}, ConsistentRead=True)
    assert read["Item"]["version"]["N"] == str(WRITERS)
    assert dynamodb.describe_table(TableName=table)["Table"]["ItemCount"] == WRITERS + 1
    assert "TransactionConflict" in seen
    assert seen <= {"TransactionConflict", "ConditionalCheckFailed", "None"}


def test_the_error_names_the_item_in_conflict(dynamodb):
    table = make_table(dynamodb)

    def race(number: int) -> list[Callable[[], Any]]:
        return [
            lambda each=each: dynamodb.transact_write_items(
                TransactItems=[put(table, f"own-{number}-{each}"), put(table, f"shared-{number}")]
            )
            for each in range(8)
        ]

    outcomes = until_seen("TransactionCanceledException None TransactionConflict", race)
    assert set(outcomes) == {"ok", "TransactionCanceledException None TransactionConflict"}


def test_a_cancelled_transaction_wrote_nothing(dynamodb):
    table = make_table(dynamodb)
    losers: list[str] = []

    def race(number: int) -> list[Callable[[], Any]]:
        def write(each: int) -> None:
            own = f"own-{number}-{each}"
            try:
                dynamodb.transact_write_items(TransactItems=[put(table, own), put(table, "shared")])
            except ClientError:
                losers.append(own)
                raise

        return [lambda each=each: write(each) for each in range(8)]

    until_seen("TransactionCanceledException None TransactionConflict", race)
    assert all("Item" not in dynamodb.get_item(TableName=table, Key={"pk": {"S": own}}) for own in losers)


@pytest.mark.parametrize("operation", ["put", "update", "delete"])
def test_a_write_that_conflicts_with_a_transaction_is_refused(dynamodb, operation):
    table = make_table(dynamodb)
    key = {"TableName": table, "Key": {"pk": {"S": "shared"}}}
    plain = {
        "put": lambda: dynamodb.put_item(TableName=table, Item=item("shared")),
        "update": lambda: dynamodb.update_item(**key, UpdateExpression="REMOVE note"),
        "delete": lambda: dynamodb.delete_item(**key),
    }[operation]
    transaction = lambda: dynamodb.transact_write_items(TransactItems=[put(table, "shared")])  # noqa: E731
    outcomes = until_seen("TransactionConflictException", lambda _: [transaction] * 4 + [plain] * 4)
    assert set(outcomes) <= {
        "ok", "TransactionConflictException", "TransactionCanceledException TransactionConflict",
    }  # fmt: skip


def test_a_transactional_read_that_conflicts_with_a_transaction_is_refused(dynamodb):
    table = make_table(dynamodb)
    get = {"Get": {"TableName": table, "Key": {"pk": {"S": "shared"}}}}
    read = lambda: dynamodb.transact_get_items(TransactItems=[get])  # noqa: E731
    write = lambda: dynamodb.transact_write_items(TransactItems=[put(table, "shared")])  # noqa: E731
    outcomes = until_seen("TransactionCanceledException TransactionConflict", lambda _: [write] + [read] * 6)
    assert outcomes[0] == "ok"


def test_a_plain_read_never_conflicts(dynamodb):
    """It returns the old item."""
    table = make_table(dynamodb)
    read = lambda: dynamodb.get_item(TableName=table, Key={"pk": {"S": "a"}}, ConsistentRead=True)  # noqa: E731
    write = lambda: dynamodb.transact_write_items(TransactItems=[put(table, "a")])  # noqa: E731
    for _ in range(5):
        assert at_once([write] + [read] * 7) == ["ok"] * 8


def test_a_batch_does_not_process_items_that_a_transaction_holds(dynamodb):
    table = make_table(dynamodb)
    left: list[int] = []

    def batch() -> None:
        requests = [{"PutRequest": {"Item": item(pk)}} for pk in ("shared", "own")]
        left.append(len(dynamodb.batch_write_item(RequestItems={table: requests})["UnprocessedItems"].get(table, [])))

    write = lambda: dynamodb.transact_write_items(TransactItems=[put(table, "shared")])  # noqa: E731
    for _ in range(ROUNDS_MAX):
        at_once([write, *[batch] * 6])
        if 1 in left:
            break
    assert 1 in left
    assert set(left) <= {0, 1}


def test_transactions_on_different_items_never_conflict(dynamodb):
    table = make_table(dynamodb)
    calls = [
        lambda each=each: dynamodb.transact_write_items(TransactItems=[put(table, f"{each}-{part}") for part in "ab"])
        for each in range(16)
    ]
    assert at_once(calls) == ["ok"] * 16


def test_a_repeated_token_succeeds_without_a_second_write(dynamodb):
    """Also while another transaction holds the item; during its own transaction it gets an error."""
    table = make_table(dynamodb)
    token = uuid.uuid4().hex
    add = {
        "Update": {
            "TableName": table, "Key": {"pk": {"S": "n"}}, "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        },
    }  # fmt: skip
    call = lambda: dynamodb.transact_write_items(TransactItems=[add], ClientRequestToken=token)  # noqa: E731
    outcomes = at_once([call] * 8)
    assert set(outcomes) <= {"ok", "TransactionInProgressException"}
    assert "ok" in outcomes
    rival = lambda: dynamodb.transact_write_items(TransactItems=[add])  # noqa: E731
    for _ in range(5):
        assert at_once([rival, *[call] * 4])[1:] == ["ok"] * 4
    assert dynamodb.get_item(TableName=table, Key={"pk": {"S": "n"}})["Item"]["n"] == {"N": "6"}


def test_botocores_own_retries_hide_a_transaction_in_progress(cloud):
    """A caller that timed out and sends the request again gets the response."""
    patient = cloud.client("dynamodb", retries={"mode": "standard", "total_max_attempts": 4}, max_pool_connections=8)
    table, token = make_table(patient), uuid.uuid4().hex
    call = lambda: patient.transact_write_items(TransactItems=[put(table, "a")], ClientRequestToken=token)  # noqa: E731
    assert at_once([call] * 4) == ["ok"] * 4


def test_a_malformed_key_is_refused_while_transactions_run(cloud, dynamodb):
    """Sent as raw HTTP, because boto3 would refuse it."""
    table = make_table(dynamodb)
    raw = cloud.client("dynamodb", parameter_validation=False)
    malformed, invalid = "SerializationException", "ValidationException"
    for value, refusal in (({"S": ["a"]}, malformed), ({"N": "1"}, invalid), ({}, invalid)):
        write = lambda value=value: raw.put_item(TableName=table, Item={"pk": value})  # noqa: E731
        transaction = lambda: dynamodb.transact_write_items(TransactItems=[put(table, "a")])  # noqa: E731
        outcomes = at_once([transaction, write, write])
        assert outcomes == ["ok", refusal, refusal], value


def test_an_invalid_transaction_is_refused_as_before(dynamodb):
    table = make_table(dynamodb)
    with pytest.raises(ClientError) as caught:
        dynamodb.transact_write_items(TransactItems=[put(table, "same"), put(table, "same")])
    assert code(caught.value.response) == "ValidationException"
    dynamodb.put_item(TableName=table, Item=item("same"))


def test_a_failed_condition_cancels_and_releases_the_items(dynamodb):
    table = make_table(dynamodb)
    never = put(table, "a", ConditionExpression="attribute_exists(pk)")
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            dynamodb.transact_write_items(TransactItems=[never])
        assert [each["Code"] for each in caught.value.response["CancellationReasons"]] == ["ConditionalCheckFailed"]
    dynamodb.put_item(TableName=table, Item=item("a"))
