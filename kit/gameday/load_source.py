"""Choose where the load of a run comes from: a generator on this machine, or Fargate tasks in a stack of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kit import build, deploy
from kit.aws.client_errors import ClientSource
from kit.gameday.parameters import ROOT, Parameters
from kit.load import LoadPlan, LoadRun
from kit.load.fleet import LoadFleet, Place

KIT = ROOT / "kit"
STACK = KIT / "load" / "stack.yaml"
RunningLoad = LoadRun | LoadFleet


def stack_name(run_id: str) -> str:
    """Return the name of the stack of a run's load tasks."""
    return f"{deploy.STACK_PREFIX}{run_id}-load"


def described(parameters: Parameters) -> str:
    """Say where the load will come from, and what is wrong with that."""
    if parameters.load_tasks:
        return f"the load will come from {parameters.load_tasks} Fargate tasks"
    honest = "" if parameters.target == "local" else ", whose network and CPU are measured too: consider load_tasks=3"
    return f"the load will come from this machine{honest}"


def deploy_tasks(session: ClientSource, run_id: str, *, timeout_s: float) -> Mapping[str, str]:
    """Push the kit's image and create the stack of the load tasks; returns its outputs."""
    image = build.build_kit_image(session, KIT)
    return deploy.create_stack(
        session,
        stack_name(run_id),
        template=STACK,
        parameters={"ImageUri": image.uri, "RunId": run_id},
        timeout_s=timeout_s,
    )


def start(
    session: ClientSource, plan: LoadPlan, out_dir: Path, parameters: Parameters, stack: Mapping[str, str]
) -> RunningLoad:
    """Start the load, from tasks if the run has a stack for them."""
    if not parameters.load_tasks:
        return LoadRun.start(plan, out_dir)
    place = Place.from_outputs(stack)
    return LoadFleet.start(session, place, plan, out_dir, run_id=parameters.run_id, tasks=parameters.load_tasks)
