"""Make, find and delete the conductor: the stack of load tasks with the artifacts, and that of the state machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit import build, deploy
from kit.aws.client_errors import ClientSource, cloud_errors
from kit.errors import UsageError
from kit.gameday.load_source import KIT
from kit.gameday.load_source import STACK as LOAD_STACK
from kit.load.fleet import Place
from kit.pipeline import execution, function_package

NAME = "pipeline"  # stands where a run's id stands; no run may have it
STACK_NAME, LOAD_STACK_NAME = f"{deploy.STACK_PREFIX}{NAME}", f"{deploy.STACK_PREFIX}{NAME}-load"
TEMPLATE = Path(__file__).with_name("stack.yaml")
DEFINITION = Path(__file__).with_name("state_machine.asl.json")
STACK_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Conductor:
    """A conductor that is up, as the outputs of its stacks name it."""

    state_machine: str
    topic: str
    bucket: str
    cluster: str
    log_group: str
    functions_key: str
    image: str


def find(session: ClientSource) -> Conductor | None:
    """Return the conductor that is up in this account and Region, if there is one."""
    own, load = (deploy.stack_of(session, name) for name in (STACK_NAME, LOAD_STACK_NAME))
    if own is None or load is None or not own.outputs or not load.outputs:
        return None
    return Conductor(
        state_machine=own.outputs["StateMachineArn"],
        topic=own.outputs["TopicArn"],
        bucket=load.outputs["ArtifactsBucket"],
        cluster=load.outputs["LoadClusterName"],
        log_group=own.outputs["LogGroupName"],
        functions_key=own.parameters["FunctionsKey"],
        image=own.parameters["ImageUri"],
    )


def up(session: ClientSource, *, email: str = "") -> Conductor:
    """Make the conductor of this tree of the kit; one that is up already is kept if it is of the same tree.

    Raises CloudError, DeployFailed, and UsageError if that of another tree conducts a run. What was made is deleted if
    anything fails.
    """
    image = build.build_kit_image(session, KIT)
    wanted = {"ImageUri": image.uri, "FunctionsKey": _functions_key(), "DefinitionKey": _definition_key()}
    if email:
        wanted["NotifyEmail"] = email
    found = deploy.stack_of(session, STACK_NAME)
    if found is not None and wanted.items() <= found.parameters.items() and (conductor := find(session)) is not None:
        return conductor
    down(session)
    outputs = deploy.create_stack(
        session, LOAD_STACK_NAME, template=LOAD_STACK, timeout_s=STACK_TIMEOUT_S,
        parameters={"ImageUri": image.uri, "RunId": NAME, "Runs": "all"},
    )  # fmt: skip
    try:
        _upload_code(session, outputs["ArtifactsBucket"])
        deploy.create_stack(
            session, STACK_NAME, template=TEMPLATE, timeout_s=STACK_TIMEOUT_S,
            parameters={**wanted, "RunId": NAME, **_place(outputs)},
        )  # fmt: skip
    except BaseException:
        deploy.tear_down(session, LOAD_STACK_NAME)
        raise
    made = find(session)
    assert made is not None, "both stacks are complete"
    return made


def down(session: ClientSource) -> None:
    """Delete the conductor and the artifacts in its bucket, if it exists. Raises UsageError while it conducts a run."""
    if (conductor := find(session)) is not None and (running := execution.running(session, conductor.state_machine)):
        raise UsageError(f"the conductor runs {running[0]}; wait for its end, or `gameday stop {running[0]}` stops it")
    for name in (STACK_NAME, LOAD_STACK_NAME):
        deploy.tear_down(session, name, timeout_s=STACK_TIMEOUT_S)


def _place(outputs: Mapping[str, str]) -> dict[str, str]:
    place = Place.from_outputs(outputs)
    return {
        "ArtifactsBucket": place.bucket,
        "Cluster": place.cluster,
        "Subnets": ",".join(place.subnets),
        "SecurityGroup": place.security_group,
        "LoadTaskDefinition": place.task_definition,
        "LoadRoleArn": outputs["LoadRoleArn"],
        "ExecutionRoleArn": outputs["ExecutionRoleArn"],
    }


def _upload_code(session: ClientSource, bucket: str) -> None:
    s3 = session.client("s3")
    with cloud_errors(f"code of the conductor in {bucket}"):
        s3.put_object(Bucket=bucket, Key=_functions_key(), Body=function_package.package())
        s3.put_object(Bucket=bucket, Key=_definition_key(), Body=DEFINITION.read_bytes())


def _functions_key() -> str:
    return f"code/functions-{_digest(function_package.package())}.zip"


def _definition_key() -> str:
    return f"code/state-machine-{_digest(DEFINITION.read_bytes())}.asl.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
