"""Check the parameters of one run before anything is started."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shlex
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import aws, build, scenarios
from kit.errors import UsageError
from kit.files.replacement import check_writable
from kit.parameter_specs import FROM_SCENARIO, PORT, RUN_PARAMETERS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "paperbroker"
# Another folder of bad changes, such as the survivors of `python -m tests.mutation`; runs of a power measurement get it
# through the environment.
CHANGES = Path(os.environ.get("GAMEDAY_CHANGES") or SOURCE / "changes").resolve()
# Where runs are written and which port the local AWS takes belong to the machine, not to the experiment. They come
# through the environment and never appear among a report's parameters.
REPORTS_VARIABLE = "GAMEDAY_REPORTS"
PORT_VARIABLE = "GAMEDAY_PORT"
# A run writes a few MB; with less free space its history could be cut off.
DISK_FREE_MIN_BYTES = 200 * 1024 * 1024


def _reports_folder() -> Path:
    # A folder that the caller names may be a symbolic link; the files below it are never written through one.
    return Path(os.environ.get(REPORTS_VARIABLE) or ROOT / "reports").resolve()


def _default(name: str) -> Any:
    return RUN_PARAMETERS[name].default


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a run does. Raises UsageError for a value that its spec does not accept.

    Values that are FROM_SCENARIO are replaced by the scenario's own, an empty `run_id` by a new one.
    """

    scenario: str
    rate_per_s: int = _default("rate_per_s")
    seed: int = _default("seed")
    steady_s: int = _default("steady_s")
    fault_duration_s: int = _default("fault_duration_s")
    recovery_s: int = _default("recovery_s")
    past_orders: int = _default("past_orders")
    load_tasks: int = _default("load_tasks")
    change: str = _default("change")
    target: str = _default("target")
    region: str = _default("region")
    run_id: str = _default("run_id")
    port: int = field(default_factory=lambda: PORT.parse(os.environ.get(PORT_VARIABLE) or PORT.default))
    reports: Path = field(default_factory=lambda: _reports_folder())

    def __post_init__(self) -> None:
        scenario = scenarios.get(self.scenario)
        for spec in (*RUN_PARAMETERS.values(), PORT):
            if spec.lowest and getattr(self, spec.name) == spec.default == FROM_SCENARIO:
                object.__setattr__(self, spec.name, getattr(scenario, spec.name))
            spec.check(getattr(self, spec.name))
        if not self.run_id:
            object.__setattr__(self, "run_id", _new_run_id(self.scenario))

    @property
    def run_dir(self) -> Path:
        return self.reports / self.run_id

    @property
    def longest_stage_s(self) -> int:
        """How long the longest stage of the run lasts: a cell of the notebook waits for it."""
        return max(self.steady_s, self.fault_duration_s, self.recovery_s)

    @property
    def reproduce(self) -> str:
        """The command that repeats this run, under a new name."""
        words = ["gameday", "run", self.scenario]
        for name, spec in RUN_PARAMETERS.items():
            value = getattr(self, name)
            if value == spec.default == "" or name in ("scenario", "run_id"):
                continue
            words += [spec.option, str(value)] if spec.option else ["-p", f"{name}={value}"]
        return shlex.join(words)

    def preflight(self) -> None:
        """Refuse what would fail later: a change that does not apply, a taken port, a full disk, a forbidden account.

        Raises UsageError, UnsafeTarget for the account, CloudError for credentials that do not work.
        """
        build.validate_change(SOURCE, self.change or None, CHANGES)
        if os.path.lexists(self.run_dir):
            raise UsageError(f"run_id={self.run_id!r}: {self.run_dir} exists; choose another or leave it empty")
        _check_folder(self.reports)
        if self.target == "local" and self.port:
            _check_port(self.port)
        if self.target == "aws":
            aws.session(target=self.target, region=self.region)


def _new_run_id(scenario: str) -> str:
    now = dt.datetime.now(dt.UTC)
    return f"{scenario}-{now:%m%d-%H%M%S}-{secrets.token_hex(2)}"[:40]


def _check_folder(folder: Path) -> None:
    try:
        # Parquet, notebooks and JSON hold the path as text.
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"reports folder {folder} is not valid UTF-8; choose another with --reports") from error
    try:
        check_writable(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UsageError(f"reports folder {folder} cannot be written: {error.strerror or error}") from error
    if free < DISK_FREE_MIN_BYTES:
        needed = f"a run needs {DISK_FREE_MIN_BYTES >> 20} MiB"
        raise UsageError(f"reports folder {folder} has {free >> 20} MiB free, {needed}")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} on 127.0.0.1 is taken ({error.strerror}); 0 takes any free one") from error
