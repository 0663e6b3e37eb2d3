"""Compose the services of one local AWS. Importing this module imports MiniStack, which reads its settings then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from kit.local import ministack, retention
from kit.local.alb import LoadBalancers
from kit.local.appconfig import ministack as appconfig
from kit.local.cloudformation import ministack as cloudformation
from kit.local.cloudwatch import CloudWatch
from kit.local.dynamodb import DynamoDb
from kit.local.ecr import Registry
from kit.local.ecs import Ecs
from kit.local.eventbridge import Schedules
from kit.local.eventbridge import ministack as eventbridge
from kit.local.fis import Collaborators, Fis
from kit.local.functions import Functions
from kit.local.keyring import Keyring
from kit.local.links import Links
from kit.local.logs import ministack as logs
from kit.local.patching import Patches
from kit.local.s3 import ministack as s3
from kit.local.sns import Sns
from kit.local.sqs import Sqs
from kit.local.ssm import Ssm
from kit.local.stepfunctions import StepFunctions


class Service(Protocol):
    """A service that the server starts and stops."""

    async def start(self) -> None:
        """Patch MiniStack and begin to work."""
        ...

    async def stop(self) -> None:
        """End all work and put MiniStack's functions back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services in their start order.

    They stop in reverse order: FIS undoes its faults, some of them by automations, then tasks end, then the load
    balancers.
    """

    sqs: Sqs
    sns: Sns
    dynamodb: DynamoDb
    ecr: Registry
    alb: LoadBalancers
    ecs: Ecs
    functions: Functions
    cloudwatch: CloudWatch
    ssm: Ssm
    stepfunctions: StepFunctions
    schedules: Schedules
    fis: Fis

    def in_start_order(self) -> Iterator[tuple[str, Service]]:
        """Yield the name and the service."""
        yield from ((field.name, getattr(self, field.name)) for field in fields(self))


def patch_ministack(keyring: Keyring) -> None:
    """Patch the services that are MiniStack's alone. Call before MiniStack starts; nothing undoes these patches."""
    patches = Patches()
    for module in (ministack, retention, logs, appconfig, s3, cloudformation, eventbridge):
        module.install(patches)
    ministack.install_credentials(patches, keyring)
    ministack.refuse_wrong_tags(patches)


def compose(*, state_dir: Path, kept_dir: Path, endpoint: str, seed: int, links: Links, keyring: Keyring) -> Services:
    """Give each service the others that it uses."""
    alb, ecr = LoadBalancers(links, seed), Registry(state_dir, endpoint, keyring)
    ecs = Ecs(seed, links=links, load_balancers=alb, images=ecr, endpoint_url=endpoint)
    dynamodb, cloudwatch, ssm = DynamoDb(seed), CloudWatch(), Ssm(state_dir, endpoint, keyring.operator.secret_key)
    keyring.attach(ecs.secret_of_key, ministack.issued_secret)
    collaborators = Collaborators(
        links=links, ecs=ecs, alb=alb, dynamodb=dynamodb, ssm=ssm, alarms=cloudwatch, endpoint=endpoint, seed=seed,
        state_dir=state_dir, kept_dir=kept_dir,
    )  # fmt: skip
    return Services(
        sqs=Sqs(seed),
        sns=Sns(state_dir, endpoint, keyring),
        dynamodb=dynamodb,
        ecr=ecr,
        alb=alb,
        ecs=ecs,
        functions=Functions(state_dir, endpoint, links),
        cloudwatch=cloudwatch,
        ssm=ssm,
        stepfunctions=StepFunctions(endpoint, keyring.operator.secret_key),
        schedules=Schedules(endpoint, keyring.operator.secret_key),
        fis=Fis(collaborators),
    )
