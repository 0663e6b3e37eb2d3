"""`gameday _execute` and `gameday _watchdog`: what the child processes of a run do. Not meant for users."""

from __future__ import annotations

import argparse
from pathlib import Path

from kit.cli.arguments import add_target


def add_parser(commands: argparse._SubParsersAction) -> None:
    execute_parser = commands.add_parser("_execute")
    execute_parser.add_argument("run_dir", type=Path)
    execute_parser.set_defaults(run=execute)
    watchdog_parser = commands.add_parser("_watchdog")
    watchdog_parser.add_argument("run_id")
    add_target(watchdog_parser)
    watchdog_parser.set_defaults(run=watchdog)


def execute(args: argparse.Namespace) -> int:
    """Execute the run's notebook; returns 1 if a cell failed. The notebook holds the traceback."""
    from papermill.exceptions import PapermillExecutionError

    from kit.notebook import runner

    try:
        runner.run_papermill(args.run_dir)
    except PapermillExecutionError:
        return 1
    return 0


def watchdog(args: argparse.Namespace) -> int:
    """Wait for the end of the run's process, and stop the run unless it has cleaned up already."""
    from kit import gameday

    gameday.run_watchdog(args.run_id, target=args.target, region=args.region)
    return 0
