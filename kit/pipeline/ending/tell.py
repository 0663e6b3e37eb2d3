"""Tell that an execution took too long: open an OpsItem and send a message, which its state machine could not do.

Input: the EventBridge event of an execution's end. The name of an execution is the id of its run.
Output: {"title", "ops_item"}; "ops_item" is empty if one is open for this cause already.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import boto3

from kit.pipeline.ending.clean_up import run_of
from kit.pipeline.ending.diagnose import CONFIG, aws_of_environment, diagnose


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run in AWS Lambda."""
    ssm, sns = (boto3.client(name, config=CONFIG) for name in ("ssm", "sns"))
    detail = event["detail"]
    error = {"Error": f"execution {detail['status']}", "Cause": detail.get("cause") or "no cause"}
    asked = {"run_id": run_of(event), "execution": detail["executionArn"], "error": error}
    return tell(diagnose(asked, aws_of_environment()), ssm, sns, os.environ["TOPIC"])


def tell(words: Mapping[str, Any], ssm: Any, sns: Any, topic: str) -> dict[str, Any]:
    """Open the OpsItem, and send the message whether that works or not."""
    try:
        item = _open(words, ssm)
    finally:
        sns.publish(TopicArn=topic, Subject=words["subject"], Message=words["message"])
    return {"title": words["title"], "ops_item": item}


def _open(words: Mapping[str, Any], ssm: Any) -> str:
    try:
        made = ssm.create_ops_item(
            Title=words["title"],
            Source=words["source"],
            Description=words["description"],
            Category="Availability",
            Severity="2",
            OperationalData=words["data"],
            Tags=[{"Key": "GameDay", "Value": "allowed"}],
        )
    except ssm.exceptions.OpsItemAlreadyExistsException:
        return ""
    return made["OpsItemId"]
