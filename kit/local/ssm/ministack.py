"""Patch MiniStack's Systems Manager: its request handler and its CloudFormation type for documents."""

from collections.abc import Callable
from typing import Any

from ministack import app

from kit.local.patching import Patches
from kit.local.ssm import cloudformation
from kit.local.ssm.documents import Documents

SERVICE = "ssm"


def install(patches: Patches, handle: Callable[..., Any], documents: Documents) -> None:
    """Call `handle(MiniStack's handler, *request)` for each request, and add the resource type."""
    patches.wrap_entry(app, "SERVICE_HANDLERS", SERVICE, handle)
    cloudformation.install(patches, documents)
