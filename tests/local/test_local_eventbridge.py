"""EventBridge refuses events whose detail is no JSON object, and delivers the others of the same call."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.polling import wait_until


def test_a_malformed_detail_is_refused_alone(cloud: Any) -> None:
    events, sqs, name = cloud.client("events"), cloud.client("sqs"), f"e-{uuid.uuid4().hex[:8]}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    details = ['"text"', "{", '{"n": 1}', "[1]", '{"n": 2}']
    answer = events.put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": each} for each in details])
    codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
    assert answer["FailedEntryCount"] == 3
    assert codes == ["MalformedDetail", "MalformedDetail", None, "MalformedDetail", None]
    received: list[int] = []

    def both() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        received.extend(json.loads(each["Body"])["detail"]["n"] for each in messages)
        return len(received) >= 2

    wait_until(both, "both events")
    assert sorted(received) == [1, 2]
