"""`gameday check`: judge the folder of a finished run again, also one that was copied from another machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from kit.cli import results


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("check", help="judge a finished run's folder again by its evidence, without any cloud")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--write", action="store_true", help="write verdict.json, junit.xml and report.html anew")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all checks on the evidence in the folder, and return the exit code of the verdict.

    The folder stays as it is without `--write`.
    """
    from kit import gameday

    judgement = gameday.judge_folder(args.run_dir)
    record = judgement.record()
    if args.write:
        results.publish(args.run_dir, record)
    results.print_record(record, args.run_dir)
    return judgement.verdict.exit_code
