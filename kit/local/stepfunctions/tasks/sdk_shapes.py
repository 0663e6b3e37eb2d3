"""Translate between the names of Step Functions (PascalCase) and those of botocore's models."""

from __future__ import annotations

import base64
import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kit.local.requests import models
from kit.local.stepfunctions.language.json_values import dump

# Members that the optimised integrations take as JSON of any kind, and write as a text.
JSON_MEMBERS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("lambda", "Invoke"): ("Payload",),
    ("sqs", "SendMessage"): ("MessageBody",),
    ("sns", "Publish"): ("Message",),
    ("stepfunctions", "StartExecution"): ("Input",),
}


def members(shape: Any) -> dict[str, str]:
    """Return the names of the members by their names in lower case."""
    return {name.lower(): name for name in shape.members}


def to_api(shape: Any, value: Any) -> Any:
    """Rename members to the model's names; keys of maps stay as they are, and null means that there is no value."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        names = members(shape)
        renamed = {names.get(key.lower(), key): item for key, item in value.items() if item is not None}
        return {key: to_api(shape.members.get(key), item) for key, item in renamed.items()}
    if kind == "map" and isinstance(value, Mapping):
        return {key: to_api(shape.value, item) for key, item in value.items() if item is not None}
    if kind == "list" and isinstance(value, list):
        return [to_api(shape.member, item) for item in value]
    if kind == "blob":
        return (value if isinstance(value, str) else dump(value)).encode()
    if kind == "timestamp" and isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if kind == "string" and not isinstance(value, str):
        return dump(value)
    return value


def to_states(shape: Any, value: Any, *, is_sdk: bool) -> Any:
    """Rename members to PascalCase. Times are ISO 8601 in `aws-sdk` and milliseconds in optimised integrations."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        known = {key: item for key, item in value.items() if key in shape.members}
        return {pascal(key): to_states(shape.members[key], item, is_sdk=is_sdk) for key, item in known.items()}
    if kind == "map" and isinstance(value, Mapping):
        return {key: to_states(shape.value, item, is_sdk=is_sdk) for key, item in value.items()}
    if kind == "list" and isinstance(value, list):
        return [to_states(shape.member, item, is_sdk=is_sdk) for item in value]
    if isinstance(value, datetime):
        return iso(value) if is_sdk else int(value.timestamp() * 1000)
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def iso(at: datetime) -> str:
    """Return a time as Step Functions writes it."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return text.replace(".000Z", "Z")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def pascal(name: str) -> str:
    """Return a name with a capital."""
    return name[:1].upper() + name[1:]


@functools.cache
def sdk_prefix(service: str) -> str:
    """Return the prefix of a service's errors: `DynamoDb` of "DynamoDB", `CloudWatchLogs` of "CloudWatch Logs"."""
    service_id = str(models.model(service).metadata.get("serviceId", service))
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+", service_id)
    return "".join(word[:1].upper() + word[1:].lower() for word in words)


def error_class(service: str, code: str) -> str | None:
    """Return the name of the modelled error with this code, ending in Exception; None if there is none."""
    bare = code.rpartition("#")[2].partition(":")[0]
    for shape in models.model(service).error_shapes:
        own = (shape.metadata.get("error") or {}).get("code")
        if bare in (shape.name, own):
            return shape.name if shape.name.endswith("Exception") else f"{shape.name}Exception"
    return None
