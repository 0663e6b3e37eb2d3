"""The parameters of one run, checked before anything starts. Knows files and ports, nothing of AWS."""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import shlex
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kit import aws, build, scenarios
from kit.errors import UsageError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "paperbroker"
CHANGES = SOURCE / "changes"
# Where runs go and which port the local AWS takes: properties of the machine, not of the experiment, so they come
# through the environment and never into a report's parameters.
REPORTS_VARIABLE = "GAMEDAY_REPORTS"
PORT_VARIABLE = "GAMEDAY_PORT"
# A run writes a few MB; below this much free space a history could be torn.
DISK_FREE_MIN_BYTES = 200 * 1024 * 1024
RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# name → (lowest, highest) that is accepted.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "rate_per_s": (1, 20_000),
    "clients": (2, 10_000),
    "seed": (0, 2**31 - 1),
    "steady_s": (5, 3_600),
    "fault_duration_s": (5, 12 * 3_600),
    "recovery_s": (5, 3_600),
    "port": (0, 65_535),
}
TARGETS = ("local", "aws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a run does. Raises UsageError on a value outside its bounds, naming it and what is accepted."""

    scenario: str
    rate_per_s: int
    clients: int
    seed: int
    steady_s: int
    fault_duration_s: int
    recovery_s: int
    change: str = ""
    target: str = "local"
    region: str = "us-east-1"
    run_id: str = ""
    port: int = field(default_factory=lambda: _port_of_environment())
    reports: Path = field(default_factory=lambda: Path(os.environ.get(REPORTS_VARIABLE) or ROOT / "reports"))

    def __post_init__(self) -> None:
        scenarios.get(self.scenario)
        for name, (lowest, highest) in BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
                raise UsageError(f"parameter {name}={value!r} is outside {lowest}..{highest}")
        if self.target not in TARGETS:
            raise UsageError(f"parameter target={self.target!r} is not one of {', '.join(TARGETS)}")
        if not REGION.fullmatch(self.region):
            raise UsageError(f"parameter region={self.region!r} is not an AWS region such as us-east-1")
        if not self.run_id:
            object.__setattr__(self, "run_id", _fresh_run_id(self.scenario))
        if not RUN_ID.fullmatch(self.run_id):
            raise UsageError(f"parameter run_id={self.run_id!r} must match {RUN_ID.pattern}")

    @property
    def run_dir(self) -> Path:
        return self.reports / self.run_id

    @property
    def reproduce(self) -> str:
        """The command that repeats this run."""
        words = ["gameday", "run", self.scenario, "--rate", str(self.rate_per_s), "--seed", str(self.seed)]
        if self.change:
            words += ["--change", self.change]
        words += ["--target", self.target, "--region", self.region]
        for name in ("clients", "steady_s", "fault_duration_s", "recovery_s"):
            words += ["-p", f"{name}={getattr(self, name)}"]
        return shlex.join(words)

    def preflight(self) -> None:
        """Refuse what would fail later anyway: a change that does not apply, a port taken, a full disk, an account that
        is not allowed.

        Raises UsageError, UnsafeTarget for the account, CloudError for credentials that do not work.
        """
        build.validate_change(SOURCE, self.change or None, CHANGES)
        if self.run_dir.exists():
            raise UsageError(f"run_id={self.run_id!r}: {self.run_dir} exists; choose another or leave it empty")
        _check_folder(self.reports)
        if self.target == "local" and self.port:
            _check_port(self.port)
        if self.target == "aws":
            aws.session(target=self.target, region=self.region)


def from_notebook(scenario: str, declared: Mapping[str, tuple[str, Any]], given: Mapping[str, Any]) -> Parameters:
    """The parameters that a notebook would run with: its own defaults under what was given."""
    known = {item.name for item in fields(Parameters)}
    defaults = {name: default for name, (_, default) in declared.items()}
    values = {name: value for name, value in {**defaults, **given}.items() if name in known}
    return Parameters(scenario=scenario, **values)


def _port_of_environment() -> int:
    text = os.environ.get(PORT_VARIABLE, "0") or "0"
    if not text.isdigit():
        raise UsageError(f"{PORT_VARIABLE}={text!r} is not a port")
    return int(text)


def _fresh_run_id(scenario: str) -> str:
    now = dt.datetime.now(dt.UTC)
    return f"{scenario}-{now:%m%d-%H%M%S}-{secrets.token_hex(2)}"[:40]


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UsageError(f"reports folder {folder} cannot be written: {error.strerror or error}") from error
    if free < DISK_FREE_MIN_BYTES:
        raise UsageError(f"reports folder {folder} has {free >> 20} MiB free, a run needs {DISK_FREE_MIN_BYTES >> 20}")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} on 127.0.0.1 is taken ({error.strerror}); 0 takes any free one") from error
