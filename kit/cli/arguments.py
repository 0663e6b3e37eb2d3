"""Declare the options that several commands share, and read the parameters of a run from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.errors import UsageError
from kit.parameter_specs import RUN_PARAMETERS, ParameterSpec

REPORTS = Path(__file__).parents[2] / "reports"


def add_option(parser: argparse.ArgumentParser, spec: ParameterSpec, *, default: Any = None, help: str = "") -> None:
    """Add the option of one parameter. A value that is not accepted raises UsageError while parsing."""
    parser.add_argument(
        spec.option, dest=spec.name, type=spec.parse, default=default, metavar=spec.option.strip("-").upper(),
        help=help or spec.help,
    )  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add the options of these parameters, and `-p` for all others. Values not given are left to the notebook."""
    for name in names:
        add_option(parser, RUN_PARAMETERS[name])
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
        help=f"set any parameter of the notebook: {', '.join(RUN_PARAMETERS)}",
    )  # fmt: skip


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add --target and --region for a command that runs no notebook."""
    for name in ("target", "region"):
        add_option(parser, RUN_PARAMETERS[name], default=RUN_PARAMETERS[name].default)


def add_reports(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the folder into which a command writes."""
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR", help=help)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the number of runs in parallel."""
    parser.add_argument("--jobs", default="auto", help="runs in parallel: a number, or auto for what the CPU allows")


def run_parameters(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that were given, by their options and by `-p`. Raises UsageError."""
    given: dict[str, Any] = {name: value for name in names if (value := getattr(args, name)) is not None}
    for pair in args.parameter:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"--parameter {pair!r} is not NAME=VALUE")
        if name == "scenario":
            raise UsageError(f"--parameter {pair!r}: the scenario is an argument of the command, not a parameter")
        given[name] = value
    return given


def comma_separated(text: str) -> list[str]:
    """Split `A,B` into its names."""
    return [name for name in text.split(",") if name]
