"""Describe every parameter of a run once: name, type, bounds, help text, and where its default comes from.

The parameters cells of the notebooks, the options of the command line, `kit.gameday.Parameters` and the load plan
are all checked against these specs, so that each refuses the same values in the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kit.errors import UsageError

SEED_MAX = 2**31 - 1
# Stands in the notebook for "the scenario's own value". No parameter accepts it from the command line.
FROM_SCENARIO = 0
# Tags of the cells of a notebook that declare its parameters: where it runs, and what it does. Papermill knows only the
# last one. It puts a run's values after that cell, so that they replace the defaults of both.
PARAMETER_TAGS = ("target-parameters", "parameters")
BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """One parameter. `lowest` and `highest` are both accepted; `pattern` must match the whole text.

    `described` says in words what `pattern` accepts. `option` is the option of the command line; a parameter without
    one is set by `-p NAME=VALUE`. `default` is FROM_SCENARIO for a value that the scenario chooses. `subject` begins
    each error message.
    """

    name: str
    type: type
    help: str = ""
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    described: str = ""
    option: str = ""
    default: Any = None
    subject: str = "parameter"

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        if self.choices:
            return " or ".join(self.choices)
        kind = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[self.type]
        bounds = "" if self.lowest is None else f" from {self.lowest:.10g} to {self.highest:.10g}"
        return self.described or f"{kind}{bounds}"

    def check(self, value: Any) -> None:
        """Raise UsageError unless `value` has the type and is within the bounds."""
        if not (self._has_type(value) and self._is_allowed(value)):
            raise UsageError(f"{self.subject} {self.name}={value!r} must be {self.accepted}")

    def parse(self, value: Any) -> Any:
        """Return `value` with the parameter's type, converted from text if it can mean only one value.

        Raises UsageError.
        """
        parsed = self._from_text(value) if isinstance(value, str) else value
        self.check(parsed)
        return float(parsed) if self.type is float else parsed

    def _from_text(self, text: str) -> Any:
        try:
            return BOOLEANS[text.lower()] if self.type is bool else self.type(text)
        except (ValueError, KeyError):
            return text

    def _has_type(self, value: Any) -> bool:
        if isinstance(value, bool):
            return self.type is bool
        return isinstance(value, (int, float) if self.type is float else self.type)

    def _is_allowed(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return False
        if self.pattern and not re.fullmatch(self.pattern, value):
            return False
        # A float that is not a number is within no bounds.
        return self.lowest is None or self.highest is None or self.lowest <= value <= self.highest


_NAME = r"[a-z0-9][a-z0-9-]{0,39}"
_NAME_WORDS = "1 to 40 lower-case letters, digits and hyphens, not beginning with a hyphen"

_ALL = (
    ParameterSpec(name="scenario", type=str, default="az-loss", help="name of the scenario"),
    ParameterSpec(
        name="rate_per_s", type=int, lowest=1, highest=20_000, option="--rate", default=FROM_SCENARIO,
        help="new orders a second; 0: the scenario's own",
    ),
    ParameterSpec(
        name="seed", type=int, lowest=0, highest=SEED_MAX, option="--seed", default=7,
        help="of every random choice: arrivals, order flow, targets",
    ),
    ParameterSpec(
        name="steady_s", type=int, lowest=5, highest=3_600, default=FROM_SCENARIO,
        help="load before the fault; 0: the scenario's own",
    ),
    ParameterSpec(
        name="fault_duration_s", type=int, lowest=5, highest=12 * 3_600, default=FROM_SCENARIO,
        help="how long the fault lasts; 0: the scenario's own",
    ),
    ParameterSpec(
        name="recovery_s", type=int, lowest=5, highest=3_600, default=FROM_SCENARIO,
        help="load after the fault; 0: the scenario's own",
    ),
    ParameterSpec(
        name="past_orders", type=int, lowest=1, highest=200_000, default=FROM_SCENARIO,
        help="orders in the ledger before the load; 0: the scenario's own",
    ),
    ParameterSpec(
        name="load_tasks", type=int, lowest=0, highest=64, default=0,
        help="Fargate tasks that send the load; 0: this machine",
    ),
    ParameterSpec(
        name="change", type=str, option="--change", default="",
        help="a known bad change to apply to the build, empty for the tree as it is",
    ),
    ParameterSpec(
        name="target", type=str, choices=("local", "aws"), option="--target", default="local", help="local or aws"
    ),
    ParameterSpec(
        name="region", type=str, pattern=r"[a-z]{2}(-[a-z]+)+-\d", described="an AWS region such as us-east-1",
        option="--region", default="us-east-1", help="where the stack goes",
    ),
    ParameterSpec(
        name="run_id", type=str, pattern=f"|{_NAME}", described=f"empty or {_NAME_WORDS}", option="--run-id",
        default="", help="name of the run; made up when empty",
    ),
)  # fmt: skip

# The parameters of the game-day notebook.
RUN_PARAMETERS = {spec.name: spec for spec in _ALL}

# Not part of a notebook: the port belongs to the machine, the suite's name to a set of runs.
PORT = ParameterSpec(
    name="port", type=int, lowest=0, highest=65_535, option="--port", default=0,
    help="port of the local AWS, 0 for any free one",
)  # fmt: skip
SUITE_ID = ParameterSpec(
    name="suite_id", type=str, pattern=f"|{_NAME}", described=f"empty or {_NAME_WORDS}", option="--suite-id",
    default="", help="name of the suite and of its folder; made up when empty",
)  # fmt: skip
