"""Patch MiniStack: requests to FIS, templates in CloudFormation, Lambda invocations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack import app
from ministack.services import lambda_svc

from kit.local.fis.actions.lambda_faults import impaired
from kit.local.patching import Patches

TEMPLATE_TYPE = "AWS::FIS::ExperimentTemplate"


def install(patches: Patches, handle: Callable[..., Any], template_handlers: Mapping[str, Any]) -> None:
    """Let MiniStack hand requests and resources to FIS, and every Lambda invocation to the faults in force."""
    patches.add_entry(app, "SERVICE_HANDLERS", "fis", handle)
    patches.add_resource_type(TEMPLATE_TYPE, template_handlers, tags="map")
    # Every way to a function (Invoke, event sources, Step Functions, API Gateway) ends in this function, in a worker
    # thread and inside the function's concurrency.
    patches.decorate(lambda_svc, "_execute_function_dispatch", impaired)
