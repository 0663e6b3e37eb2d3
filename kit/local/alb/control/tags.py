"""Answer the elbv2 operations on tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ministack.services import alb

from kit.local.alb.control import records
from kit.local.alb.control.query import Request
from kit.local.alb.wire import RequestRefused

TAGS_MAX = 50
RESOURCES_MAX = 20
_FINDERS = (
    (":loadbalancer/", records.balancer),
    (":targetgroup/", records.group),
    (":listener/", records.listener),
    (":listener-rule/", records.rule),
)


def add_tags(request: Request) -> dict[str, Any]:
    """Answer AddTags."""
    _check_resources(request["ResourceArns"])
    given = checked(request["Tags"])
    merged = {arn: _merged(alb._tags.get(arn) or [], given) for arn in request["ResourceArns"]}
    for arn, tags in merged.items():
        alb._tags[arn] = tags
    return {}


def remove_tags(request: Request) -> dict[str, Any]:
    """Answer RemoveTags."""
    _check_resources(request["ResourceArns"])
    for arn in request["ResourceArns"]:
        alb._tags[arn] = [tag for tag in alb._tags.get(arn) or [] if tag["Key"] not in request["TagKeys"]]
    return {}


def describe_tags(request: Request) -> dict[str, Any]:
    """Answer DescribeTags."""
    _check_resources(request["ResourceArns"])
    described = [{"ResourceArn": arn, "Tags": alb._tags.get(arn) or []} for arn in request["ResourceArns"]]
    return {"TagDescriptions": described}


def checked(tags: Sequence[Mapping[str, str]] | None) -> list[dict[str, str]]:
    """Return the tags of a request. Raises RequestRefused for a key that is given twice, or for too many tags."""
    found = [{"Key": tag["Key"], "Value": str(tag.get("Value", ""))} for tag in tags or ()]
    keys = [tag["Key"] for tag in found]
    if len(set(keys)) < len(keys):
        raise RequestRefused("DuplicateTagKeys", "A tag key was specified more than once.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise RequestRefused("ValidationError", "Tag keys that begin with 'aws:' are reserved for system use")
    return _merged([], found)


def _merged(present: Sequence[Mapping[str, str]], given: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    merged = {tag["Key"]: str(tag.get("Value", "")) for tag in (*present, *given)}
    if len(merged) > TAGS_MAX:
        raise RequestRefused(
            "TooManyTags", f"The quota for the number of tags that can be assigned to a resource is {TAGS_MAX}"
        )
    return [{"Key": key, "Value": value} for key, value in merged.items()]


def _check_resources(arns: Sequence[str]) -> None:
    if not 1 <= len(arns) <= RESOURCES_MAX:
        raise RequestRefused("ValidationError", f"Up to {RESOURCES_MAX} resources can be given, but {len(arns)} were")
    for arn in arns:
        find = next((find for kind, find in _FINDERS if kind in arn), None)
        if find is None:
            raise RequestRefused("ValidationError", f"'{arn}' is not a valid load balancing resource ARN")
        find(arn)
