"""Name the errors of called services as Step Functions does."""

from __future__ import annotations

from collections.abc import Mapping

from kit.local.stepfunctions.errors import StateFailed
from kit.local.stepfunctions.tasks import sdk_shapes
from kit.local.stepfunctions.tasks.sdk_calls import NO_STATUS, CallFailed

# Of the optimised integrations: the prefix, the error without a name of its own, the service in the cause.
OPTIMISED: Mapping[str, tuple[str, str, str]] = {
    "lambda": ("Lambda", "AWSLambdaException", "AWSLambda"),
    "sqs": ("SQS", "AmazonSQSException", "AmazonSQS"),
    "sns": ("SNS", "AmazonSNSException", "AmazonSNS"),
    "dynamodb": ("DynamoDB", "AmazonDynamoDBException", "AmazonDynamoDBv2"),
    "events": ("EventBridge", "AmazonEventBridgeException", "AmazonEventBridge"),
    "stepfunctions": ("StepFunctions", "AWSStepFunctionsException", "AWSStepFunctions"),
    "ecs": ("ECS", "AmazonECSException", "AmazonECS"),
}
# Errors that the service's model does not name, and clients do.
_UNMODELLED = frozenset({"SdkClientException", "ThrottlingException"})
# Codes of the former protocol of SQS, which the model does not have any more.
_FORMER = {"AWS.SimpleQueueService.NonExistentQueue": "QueueDoesNotExistException"}


def named(service: str, failed: CallFailed, *, is_sdk: bool) -> StateFailed:
    """Return the failure of a task whose call failed."""
    own = sdk_shapes.error_class(service, failed.code) or _FORMER.get(failed.code)
    if own is None and failed.code in _UNMODELLED:
        own = failed.code
    if is_sdk:
        prefix = sdk_shapes.sdk_prefix(service)
        name = f"{prefix}.{own or f'{prefix}Exception'}"
        text = f"{failed} (Service: {prefix}, Status Code: {failed.status}, Request ID: {failed.request_id})"
        return StateFailed(name, str(failed) if failed.status == NO_STATUS else f"{text} (SDK Attempt Count: 1)")
    prefix, generic, display = OPTIMISED[service]
    text = (
        f"{failed} (Service: {display}; Status Code: {failed.status}; Error Code: {failed.code}; "
        f"Request ID: {failed.request_id}; Proxy: null)"
    )
    return StateFailed(f"{prefix}.{own or generic}", str(failed) if failed.status == NO_STATUS else text)
