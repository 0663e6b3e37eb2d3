"""Patch MiniStack's Systems Manager: its request handler, parameters, and CloudFormation type of documents."""

from collections.abc import Callable
from typing import Any

from ministack import app

from kit.local.patching import Patches
from kit.local.ssm import cloudformation, stored_parameters
from kit.local.ssm.documents import Documents

SERVICE = "ssm"


def install(patches: Patches, handle: Callable[..., Any], documents: Documents) -> None:
    """Call `handle(MiniStack's handler, *request)` for each request, and add the resource type."""
    patches.wrap_entry(app, "SERVICE_HANDLERS", SERVICE, handle)
    stored_parameters.install(patches)
    cloudformation.install(patches, documents)
