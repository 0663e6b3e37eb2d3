"""`gameday lint-template`: check AWS FIS experiment templates without an account."""

from __future__ import annotations

import argparse
from pathlib import Path

from kit.process.terminal import one_line, say


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("lint-template", help="check any AWS FIS experiment template, without an account")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="JSON or YAML, of the API or CloudFormation"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print every remark; returns 1 if one of them is an error."""
    from kit.faults.lint import Severity, lint

    remarks = lint(args.files)
    for path, remark in remarks:
        say(f"{one_line(path)}: {remark}")
    return int(any(remark.severity is Severity.ERROR for _, remark in remarks))
