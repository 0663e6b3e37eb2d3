"""`gameday golden`: record the latency profile of good runs, and compare later runs with it."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from kit.cli import run as run_command
from kit.cli.arguments import add_reports
from kit.errors import UsageError
from kit.process.terminal import say


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("golden", help="compare the latency of runs with a profile of good runs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    record_parser = actions.add_parser("record", help="make the profile of a scenario from PASS runs")
    record_parser.add_argument("--runs", type=int, default=0, help="first make this many runs, one after the other")
    record_parser.add_argument("--from", dest="made", nargs="+", type=Path, default=[], metavar="RUN_DIR")
    run_command.add_arguments(record_parser)
    record_parser.set_defaults(run=record)
    compare_parser = actions.add_parser("compare", help="exit 1 if three or more runs are slower than the profile")
    compare_parser.add_argument("scenario")
    compare_parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    add_reports(compare_parser, "folder of the run folders")
    compare_parser.set_defaults(run=compare)


def record(args: argparse.Namespace) -> int:
    """Make the runs that are asked for and record the profile; stops with the exit code of the first run not PASS."""
    from kit import gameday

    made: list[Path] = list(args.made)
    if args.run_id:
        raise UsageError(f"--run-id {args.run_id!r}: the runs of a golden profile get names of their own")
    for number in range(args.runs):
        args.run_id = f"golden-{secrets.token_hex(3)}-{number + 1}"
        code = run_command.run(args)
        if code:
            return code
        made.append(args.reports / args.run_id)
    profile = gameday.record_golden(args.scenario, made, args.reports)
    say(f"golden profile of {len(made)} runs in {profile}")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare runs with the profile; returns the exit code of the worst finding."""
    from kit import gameday
    from kit.verdict import gate

    found = gameday.compare_with_golden(args.scenario, args.runs, args.reports)
    for finding in found:
        say(f"{finding.status.value:8}{finding.name} ({finding.phase}): {finding.detail}")
    return gate.worst(gate.VERDICT_OF_STATUS[finding.status] for finding in found).exit_code
