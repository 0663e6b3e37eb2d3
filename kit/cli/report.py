"""`gameday report`: write the report of a finished run again."""

from __future__ import annotations

import argparse
from pathlib import Path

from kit.cli.evidence_folders import RUN_FOLDER, check_folders
from kit.process.terminal import say


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("report", help="write report.html and junit.xml of finished runs again")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge each run again and write its files; returns 0 whatever the verdicts are."""
    from kit import gameday
    from kit.notebook import run_verdict

    check_folders(args.runs, RUN_FOLDER)
    for run_dir in args.runs:
        gameday.publish(run_dir, run_verdict.judge_run(run_dir))
        say(str(run_dir / "report.html"))
    return 0
