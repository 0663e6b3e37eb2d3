"""Test the patches of MiniStack's ECS against the pinned MiniStack."""

import json
from typing import Any

import pytest
from ministack import app
from ministack.services import ecs
from ministack.services.cloudformation import handlers as stack_handlers
from ministack.services.cloudformation import provisioners, stacks

from kit.local.ecs import ministack
from kit.local.ecs.cloudformation import TYPE, ServiceResource
from kit.local.ecs.operations import handlers_of
from kit.local.patching import Patches

NO_SCHEDULER: Any = None
HANDLERS = handlers_of(NO_SCHEDULER)


@pytest.mark.parametrize("action", sorted(HANDLERS))
def test_ministack_names_its_function_as_our_handler(action: str) -> None:
    """Step Functions and EventBridge call these functions, and the patch finds them by this name."""
    handler = HANDLERS[action]
    assert ecs._ACTION_MAP[action] is getattr(ecs, f"_{handler.__name__}")


def test_patched_functions_answer_from_our_handlers_until_the_patches_are_undone() -> None:
    def run_task(request: dict[str, Any]) -> dict[str, Any]:
        return {"tasks": [request]}

    original, patches = ecs._run_task, Patches()
    handler = app.SERVICE_HANDLERS["ecs"]
    ministack.install(patches, {"RunTask": run_task}, lambda _: None)
    status, _, body = ecs._run_task({"count": 1})
    assert (status, json.loads(body)) == (200, {"tasks": [{"count": 1}]})
    assert app.SERVICE_HANDLERS["ecs"] is not handler
    patches.undo()
    assert ecs._run_task is ecs._ACTION_MAP["RunTask"] is original
    assert app.SERVICE_HANDLERS["ecs"] is handler


def test_the_cloudformation_service_runs_in_a_worker_thread_until_the_patches_are_undone() -> None:
    """Its handlers wait, so they must not run on the event loop."""
    patches, delete_stack = Patches(), stack_handlers._delete_stack_async
    original = provisioners._RESOURCE_HANDLERS[TYPE]
    ServiceResource(NO_SCHEDULER, {}).install(patches)
    assert stacks._runs_on_worker_thread(TYPE)
    assert not stacks._runs_on_worker_thread("AWS::EC2::VPC")
    assert set(provisioners._RESOURCE_HANDLERS[TYPE]) == {"create", "update", "delete"}
    patches.undo()
    assert provisioners._RESOURCE_HANDLERS[TYPE] is original
    assert stack_handlers._delete_stack_async is delete_stack
