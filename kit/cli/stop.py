"""`gameday stop`: stop the faults of a run and delete its stack."""

from __future__ import annotations

import argparse

from kit.cli.arguments import add_target
from kit.process.terminal import say


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("stop", help="stop the faults of a run and delete its stack")
    parser.add_argument("run_id")
    add_target(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Stop the run's experiments, delete its stack, and print what was found."""
    from kit import gameday

    for line in gameday.stop_run(args.run_id, target=args.target, region=args.region):
        say(line)
    return 0
