"""Patch MiniStack's AWS::S3::Bucket: its tags are applied, and a bucket with objects is not deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from ministack.services import s3
from ministack.services.cloudformation import provisioners

from kit.local.patching import Patches, require

BUCKET = "AWS::S3::Bucket"


def install(patches: Patches) -> None:
    """Patch the resource."""
    require(s3, "_put_bucket_tagging", "_delete_bucket_tagging", "_buckets")
    tags = ("Tags", _tags, s3._put_bucket_tagging, s3._delete_bucket_tagging)
    patches.replace(provisioners, "_S3_BUCKET_CONFIGURATIONS", (*provisioners._S3_BUCKET_CONFIGURATIONS, tags))
    patches.pass_stack_tags(BUCKET, "list")
    patches.wrap_resource_handler(BUCKET, "delete", _delete)


def _delete(delete: Callable[..., Any], physical_id: str, *rest: Any) -> Any:
    """Delete an empty bucket, as CloudFormation does. Raises ValueError for any other."""
    if (s3._buckets.get(physical_id) or {}).get("objects"):
        raise ValueError(f"The bucket you tried to delete is not empty (bucket {physical_id})")
    return delete(physical_id, *rest)


def _tags(tags: list[dict[str, Any]]) -> bytes:
    root = Element("Tagging", xmlns=s3.S3_NS)
    holder = SubElement(root, "TagSet")
    for tag in tags or []:
        entry = SubElement(holder, "Tag")
        SubElement(entry, "Key").text, SubElement(entry, "Value").text = str(tag["Key"]), str(tag["Value"])
    return tostring(root, encoding="utf-8")
