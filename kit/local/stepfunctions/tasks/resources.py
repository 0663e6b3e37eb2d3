"""Parse the resource of a Task state, and say which resources the local AWS serves."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kit.local.requests.sdk_names import operation_name, sdk_service, served_operation

LAMBDA, ACTIVITY, SERVICE, SDK = "lambda", "activity", "service", "sdk"
REQUEST, SYNC, SYNC_2, CALLBACK = "", "sync", "sync:2", "waitForTaskToken"

_FUNCTION = re.compile(r"arn:[a-z-]+:lambda:[\w-]+:\d*:function:[\w-]+(:[\w$-]+)?")
_ACTIVITY = re.compile(r"arn:[a-z-]+:states:[\w-]+:\d+:activity:.+")
_SERVICE = re.compile(r"arn:[a-z-]+:states:[\w-]*:\d*:(?P<service>[\w-]+):(?P<api>\w+)(?:\.(?P<pattern>\w+(?::2)?))?")
_SDK = re.compile(r"arn:[a-z-]+:states:[\w-]*:\d*:aws-sdk:(?P<service>[\w-]+):(?P<api>\w+)(?:\.(?P<pattern>\w+))?")

# The optimised integrations that are served, with botocore's name of the service.
OPTIMISED: Mapping[tuple[str, str], tuple[str, frozenset[str]]] = {
    ("lambda", "invoke"): ("lambda", frozenset({REQUEST, CALLBACK})),
    ("sqs", "sendMessage"): ("sqs", frozenset({REQUEST, CALLBACK})),
    ("sns", "publish"): ("sns", frozenset({REQUEST, CALLBACK})),
    ("events", "putEvents"): ("events", frozenset({REQUEST, CALLBACK})),
    ("dynamodb", "getItem"): ("dynamodb", frozenset({REQUEST})),
    ("dynamodb", "putItem"): ("dynamodb", frozenset({REQUEST})),
    ("dynamodb", "deleteItem"): ("dynamodb", frozenset({REQUEST})),
    ("dynamodb", "updateItem"): ("dynamodb", frozenset({REQUEST})),
    ("states", "startExecution"): ("stepfunctions", frozenset({REQUEST, SYNC, SYNC_2, CALLBACK})),
    ("ecs", "runTask"): ("ecs", frozenset({REQUEST, SYNC, CALLBACK})),
}
# What AWS integrates besides, and the local AWS does not.
UNSERVED = frozenset(
    {"apigateway", "athena", "batch", "bedrock", "codebuild", "databrew", "eks", "elasticmapreduce", "emr-containers"}
    | {"emr-serverless", "glue", "glue-databrew", "http", "mediaconvert", "sagemaker"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A parsed resource. `service` is botocore's name; `named` is the name in the resource."""

    kind: str
    arn: str
    service: str = ""
    named: str = ""
    api: str = ""
    pattern: str = REQUEST

    @property
    def operation(self) -> str:
        """Return the API operation."""
        return operation_name(self.service, self.api)

    @property
    def type(self) -> str:
        """Return the resourceType of history events."""
        return f"aws-sdk:{self.named}" if self.kind == SDK else self.named

    @property
    def action(self) -> str:
        """Return the resource of history events."""
        return f"{self.api}.{self.pattern}" if self.pattern else self.api


@functools.lru_cache(maxsize=512)
def parse(arn: str) -> Resource | None:
    """Parse a resource. Return None if it is none of a kind that Step Functions knows."""
    if _FUNCTION.fullmatch(arn):
        return Resource(kind=LAMBDA, arn=arn, service="lambda")
    if _ACTIVITY.fullmatch(arn):
        return Resource(kind=ACTIVITY, arn=arn)
    if match := _SDK.fullmatch(arn):
        named = match["service"]
        service = sdk_service(named) or named
        return Resource(
            kind=SDK, arn=arn, service=service, named=named, api=match["api"], pattern=match["pattern"] or ""
        )
    if match := _SERVICE.fullmatch(arn):
        named, api = match["service"], match["api"]
        service = OPTIMISED.get((named, api), (named, None))[0]
        return Resource(kind=SERVICE, arn=arn, service=service, named=named, api=api, pattern=match["pattern"] or "")
    return None


def problem(resource: Resource) -> str | None:
    """Return why a resource cannot be used, or None."""
    unknown = (
        f"The resource provided {resource.arn} is not recognized. The value is not a valid resource ARN, or the "
        "resource is not available in this region."
    )
    if resource.kind in (LAMBDA, ACTIVITY):
        return None
    if resource.kind == SDK:
        if sdk_service(resource.named) is None:
            return f"{unknown} The local AWS does not serve {resource.named!r}."
        if not served_operation(resource.service, resource.operation):
            return f"{unknown} The local AWS does not serve {resource.service}:{resource.operation}."
        return None if resource.pattern in (REQUEST, CALLBACK) else unknown
    found = OPTIMISED.get((resource.named, resource.api))
    if found is None:
        is_known = resource.named in UNSERVED
        return f"{resource.arn} is not served here; AWS has it" if is_known else unknown
    return None if resource.pattern in found[1] else unknown
