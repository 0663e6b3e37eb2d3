"""Tables and queues that are tagged so give AWS's less usual answers, and eventually consistent reads lag."""

from __future__ import annotations

import time
import uuid
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from kit.local.dynamodb.lag import READ_TAG
from kit.local.unusual_answers import KINDS, SHARE_MAX, TAG, Draws, UnusualAnswersInvalid, shares
from tests.local.dynamodb_rig import code, item, make_table, refusal

LAG_MS = 60_000
CALLS = 60


def tagged(text: str) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": text}]


def outcomes(call, count: int = CALLS, **arguments) -> Counter:
    """Count the error codes of a call that is made many times; "" for a success."""
    found: Counter = Counter()
    for _ in range(count):
        try:
            call(**arguments)
            found[""] += 1
        except ClientError as error:
            found[code(error.response)] += 1
    return found


@pytest.fixture(scope="module")
def sqs(cloud):
    return cloud.client("sqs")


def make_queue(sqs, text: str) -> str:
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "0"}
    return sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}.fifo", Attributes=attributes, tags={TAG: text})[
        "QueueUrl"
    ]


# What the tag says


@pytest.mark.parametrize(
    "text", ["odd=0.1", "error", "error=often", "error=0.6", "error=-1", "error=nan", "error=0 error=0"]
)
def test_a_value_that_is_not_understood_is_refused_by_name(text):
    with pytest.raises(UnusualAnswersInvalid, match=TAG):
        shares(tagged(text))


def test_a_table_with_a_wrong_tag_is_refused(dynamodb):
    table = make_table(dynamodb)
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    assert code(refusal(dynamodb.tag_resource, ResourceArn=arn, Tags=tagged("odd=1"))) == "ValidationException"


def test_shares_are_those_of_the_draws_and_repeat_with_the_seed():
    wanted = shares(tagged("error=0.1 lost=0.2"))
    first, again = ([Draws(7, "x").kind(wanted, ("error", "lost")) for _ in range(1)] for _ in range(2))
    assert first == again
    draws = Draws(7, "x")
    counted = Counter(draws.kind(wanted, ("error", "lost")) for _ in range(20_000))
    assert counted["error"] == pytest.approx(2000, rel=0.1)
    assert counted["lost"] == pytest.approx(4000, rel=0.1)


def test_kinds_that_an_operation_cannot_have_are_not_drawn():
    draws = Draws(1, "x")
    assert {draws.kind(dict.fromkeys(KINDS, SHARE_MAX), ()) for _ in range(100)} == {""}


# DynamoDB


def test_an_untagged_table_answers_as_usual(dynamodb):
    assert outcomes(dynamodb.put_item, TableName=make_table(dynamodb), Item=item("1")) == {"": CALLS}


def test_an_error_does_nothing_and_a_lost_answer_does_everything(dynamodb):
    failing = make_table(dynamodb, Tags=tagged("error=0.5"))
    losing = make_table(dynamodb, Tags=tagged("lost=0.5"))
    for table, is_done in ((failing, False), (losing, True)):
        seen: set[bool] = set()
        for number in range(CALLS):
            try:
                dynamodb.put_item(TableName=table, Item=item(str(number)))
            except ClientError as error:
                assert code(error.response) == "InternalServerError"
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
                seen.add(exists(dynamodb, table, str(number)))
        assert seen == {is_done}


def exists(dynamodb, table: str, pk: str) -> bool:
    """Return whether an item is there; asks until a read is answered."""
    for _ in range(CALLS):
        try:
            return "Item" in dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        except ClientError as error:
            assert code(error.response) == "InternalServerError"
    raise AssertionError("no read was answered")


@pytest.mark.parametrize(
    ("kind", "expected"), [("throttle", "ThrottlingException"), ("conflict", "TransactionConflictException")]
)
def test_single_writes_are_throttled_and_conflict(dynamodb, kind, expected):
    table = make_table(dynamodb, Tags=tagged(f"{kind}=0.5"))
    found = outcomes(dynamodb.put_item, TableName=table, Item=item("1"))
    assert set(found) == {"", expected}


def test_reads_do_not_conflict(dynamodb):
    table = make_table(dynamodb, Tags=tagged("conflict=0.5"))
    assert outcomes(dynamodb.get_item, TableName=table, Key={"pk": {"S": "1"}}) == {"": CALLS}


@pytest.mark.parametrize(("kind", "reason"), [("throttle", "ThrottlingError"), ("conflict", "TransactionConflict")])
def test_a_transaction_is_cancelled_for_one_of_its_items(dynamodb, kind, reason):
    table = make_table(dynamodb, Tags=tagged(f"{kind}=0.5"))
    writes = [{"Put": {"TableName": table, "Item": item(pk)}} for pk in "ab"]
    reasons = []
    for _ in range(CALLS):
        try:
            dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons.append([each["Code"] for each in error.response["CancellationReasons"]])
    assert reasons and all(sorted(each) == sorted(["None", reason]) for each in reasons)


def test_a_transaction_whose_answer_is_lost_was_carried_out_and_its_token_repeats_it(dynamodb):
    table = make_table(dynamodb, Tags=tagged("lost=0.5"))
    for number in range(CALLS):
        put = {
            "Put": {"TableName": table, "Item": item(str(number)), "ConditionExpression": "attribute_not_exists(pk)"}
        }
        try:
            dynamodb.transact_write_items(TransactItems=[put], ClientRequestToken=f"token-{number}")
        except ClientError as error:
            assert code(error.response) == "InternalServerError"
            assert exists(dynamodb, table, str(number))
            again = outcomes(
                dynamodb.transact_write_items, count=8, TransactItems=[put], ClientRequestToken=f"token-{number}"
            )
            assert set(again) <= {"", "InternalServerError"}
            return
    raise AssertionError("no answer was lost")


def test_items_of_a_batch_are_returned_as_unprocessed(dynamodb):
    table = make_table(dynamodb, Tags=tagged("part=0.3"))
    puts = [{"PutRequest": {"Item": item(str(number))}} for number in range(20)]
    left = dynamodb.batch_write_item(RequestItems={table: puts})["UnprocessedItems"].get(table, [])
    done = {each["pk"]["S"] for each in dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]}
    refused = {each["PutRequest"]["Item"]["pk"]["S"] for each in left}
    assert refused and done and refused | done == {str(number) for number in range(20)} and not refused & done


def test_an_eventually_consistent_read_shows_old_items_and_a_consistent_one_does_not(dynamodb):
    table = make_table(dynamodb, Tags=[{"Key": READ_TAG, "Value": str(LAG_MS)}])
    key = {"pk": {"S": "1"}}
    dynamodb.put_item(TableName=table, Item=item("1"))
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)
    assert dynamodb.scan(TableName=table)["Count"] == 0
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "1"}}}
    assert dynamodb.query(TableName=table, **query)["Count"] == 0
    assert dynamodb.batch_get_item(RequestItems={table: {"Keys": [key]}})["Responses"][table] == []
    assert "Item" in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)
    assert dynamodb.scan(TableName=table, ConsistentRead=True)["Count"] == 1
    assert dynamodb.query(TableName=table, ConsistentRead=True, **query)["Count"] == 1
    wanted = {"Keys": [key], "ConsistentRead": True}
    assert len(dynamodb.batch_get_item(RequestItems={table: wanted})["Responses"][table]) == 1


def test_a_lagging_read_catches_up(dynamodb):
    table = make_table(dynamodb, Tags=[{"Key": READ_TAG, "Value": "200"}])
    dynamodb.put_item(TableName=table, Item=item("1"))
    time.sleep(0.25)
    assert "Item" in dynamodb.get_item(TableName=table, Key={"pk": {"S": "1"}})


# SQS


def entries(numbers) -> list[dict[str, str]]:
    return [
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g", "MessageDeduplicationId": f"d{n}"} for n in numbers
    ]


@pytest.mark.parametrize(
    ("kind", "expected", "status"), [("error", "InternalFailure", 500), ("throttle", "RequestThrottled", 400)]
)
def test_calls_of_a_queue_fail(sqs, kind, expected, status):
    url = make_queue(sqs, f"{kind}=0.5")
    found = outcomes(sqs.get_queue_attributes, count=5, QueueUrl=url, AttributeNames=["QueueArn"])
    assert found == {"": 5}  # Only the data plane fails.
    failed = 0
    for number in range(CALLS):
        try:
            sqs.send_message_batch(QueueUrl=url, Entries=entries([number]))
        except ClientError as error:
            failed += 1
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
            assert code(error.response).rpartition(".")[2] == expected
    assert 0 < failed < CALLS


def test_an_entry_that_is_refused_was_not_sent_and_one_that_is_not_deleted_comes_again(sqs):
    url = make_queue(sqs, "part=0.3")
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries(range(10)))
    sent = {each["Id"] for each in answer["Successful"]}
    assert {each["Code"] for each in answer["Failed"]} == {"InternalFailure"}
    assert not any(each["SenderFault"] for each in answer["Failed"])
    received = {
        m["Body"]: m["ReceiptHandle"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    }
    assert set(received) == sent
    deletes = [{"Id": body, "ReceiptHandle": handle} for body, handle in received.items()]
    kept = {each["Id"] for each in sqs.delete_message_batch(QueueUrl=url, Entries=deletes)["Failed"]}
    again = {m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])}
    assert again == kept


def test_a_lost_answer_of_a_send_has_sent(sqs):
    url = make_queue(sqs, "lost=0.5")
    found = outcomes(
        sqs.send_message, count=20, QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="one"
    )
    assert set(found) == {"", "InternalFailure"}
    assert (
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"]
        == "1"
    )


def test_a_queue_with_a_wrong_tag_says_so(sqs):
    url = make_queue(sqs, "odd=1")
    with pytest.raises(ClientError, match=TAG):
        sqs.receive_message(QueueUrl=url)
