"""Keep state machines with their revisions, published versions and aliases."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kit.local.stepfunctions.errors import ApiError

STANDARD, EXPRESS = "STANDARD", "EXPRESS"
MACHINES_MAX = 10_000
VERSIONS_MAX = 1_000
TAGS_MAX = 50
LOGGING_OFF: Mapping[str, Any] = {"level": "OFF", "includeExecutionData": False}
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+")
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\u0000-\u001f\u007f-\u009f]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A definition with what belongs to it. Executions keep the revision that they were started with."""

    arn: str
    name: str
    kind: str
    role_arn: str
    definition: str
    logging: Mapping[str, Any]
    revision_id: str
    updated_at: float
    label: str | None = None
    version_arn: str | None = None
    alias_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A published revision."""

    arn: str
    revision: Revision
    description: str
    created_at: float


@dataclass(slots=True, kw_only=True)
class Alias:
    """A name for one version or for two with weights."""

    arn: str
    name: str
    description: str
    routing: list[dict[str, Any]]
    created_at: float
    updated_at: float


@dataclass(slots=True, kw_only=True)
class StateMachine:
    """A state machine."""

    arn: str
    created_at: float
    revision: Revision
    tags: dict[str, str]
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    last_version: int = 0
    # The version that CreateStateMachine published.
    created_version: str | None = None

    def version(self, arn: str) -> Version | None:
        """Return a version by its ARN, or None."""
        return next((each for each in self.versions.values() if each.arn == arn), None)

    def publish(self, description: str, now: float) -> Version:
        """Publish the present revision; one that was published already has its version. Raises ApiError."""
        for version in self.versions.values():
            if version.revision.revision_id == self.revision.revision_id:
                return version
        if len(self.versions) >= VERSIONS_MAX:
            raise ApiError("ServiceQuotaExceededException", f"A state machine has at most {VERSIONS_MAX} versions")
        self.last_version += 1
        arn = f"{self.arn}:{self.last_version}"
        published = replace(self.revision, version_arn=arn)
        version = Version(arn=arn, revision=published, description=description, created_at=now)
        self.versions[self.last_version] = version
        return version


class Machines:
    """The state machines of one cloud by their ARNs."""

    def __init__(self) -> None:
        self._machines: dict[str, StateMachine] = {}

    def add(self, machine: StateMachine) -> None:
        """Keep a new machine. Raises ApiError."""
        if len(self._machines) >= MACHINES_MAX:
            raise ApiError("StateMachineLimitExceeded", f"State Machine Limit Exceeded: '{MACHINES_MAX}'")
        self._machines[machine.arn] = machine

    def find(self, arn: str) -> StateMachine | None:
        """Return a machine, or None."""
        return self._machines.get(arn)

    def get(self, arn: str) -> StateMachine:
        """Return a machine. Raises ApiError."""
        found = self._machines.get(arn)
        if found is None:
            raise missing(arn)
        return found

    def of(self, arn: str) -> StateMachine:
        """Return the machine of an ARN that may be qualified. Raises ApiError."""
        return self.get(base_arn(arn))

    def remove(self, arn: str) -> StateMachine | None:
        """Forget a machine."""
        return self._machines.pop(arn, None)

    def all(self, prefix: str) -> list[StateMachine]:
        """Return the machines of an account and a Region, in the order of their names."""
        found = [each for arn, each in self._machines.items() if arn.startswith(prefix)]
        return sorted(found, key=lambda each: each.revision.name)

    def resolve(self, arn: str) -> Revision:
        """Return the revision that an ARN of a machine, a version or an alias names. Raises ApiError."""
        base = base_arn(arn)
        machine = self._machines.get(base)
        if machine is None:
            raise missing(arn)
        if arn == base:
            return machine.revision
        if version := machine.version(arn):
            return version.revision
        alias = machine.aliases.get(arn)
        if alias is None:
            raise missing(arn)
        weights = [entry["weight"] for entry in alias.routing]
        chosen = random.choices(alias.routing, weights=weights)[0]
        version = machine.version(chosen["stateMachineVersionArn"])
        if version is None:
            raise missing(chosen["stateMachineVersionArn"])
        return replace(version.revision, alias_arn=arn)


def missing(arn: str) -> ApiError:
    """Return the error of a machine that does not exist."""
    return ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


def base_arn(arn: str) -> str:
    """Return the ARN of the machine without a version or an alias."""
    return ":".join(arn.split(":")[:7])


def check_name(name: str) -> str:
    """Return a name. Raises ApiError."""
    if not _NAME.fullmatch(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    return name


def check_role(arn: str) -> str:
    """Return the ARN of a role. Raises ApiError."""
    if not _ROLE.fullmatch(arn):
        raise ApiError("InvalidArn", f"Invalid Role Arn: '{arn}'")
    return arn


def tags_of(given: list[Mapping[str, str]]) -> dict[str, str]:
    """Return tags by their keys. Raises ApiError."""
    tags = {each["key"]: each.get("value", "") for each in given}
    if len(tags) > TAGS_MAX:
        raise ApiError("TooManyTags", f"A resource has at most {TAGS_MAX} tags, not {len(tags)}")
    return tags


def new_revision_id() -> str:
    """Return the id of a new revision."""
    return str(uuid.uuid4())
