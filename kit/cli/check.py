"""`gameday check`: judge the folder of a finished run again, also one that was copied from another machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kit.cli import results
from kit.errors import EvidenceMissing
from kit.model import Verdict


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

    record = judged(args.run_dir)
    if args.write:
        gameday.publish(args.run_dir, record)
    results.print_record(record, args.run_dir)
    return Verdict(record["verdict"]).exit_code


def judged(run_dir: Path) -> dict[str, Any]:
    """Judge the evidence and how the run was conducted; evidence that cannot be read is an INVALID record."""
    from kit import gameday
    from kit.notebook import partial_record, run_verdict
    from kit.pipeline import conduct
    from kit.verdict import gate

    try:
        if conduct.is_conducted(run_dir):
            return conduct.judge_conducted(run_dir)
        record = gameday.judge_folder(run_dir).record()
    except EvidenceMissing as error:
        return partial_record.invalid_record(run_dir, [str(error)], **run_verdict.started_with(run_dir))
    problems = run_verdict.conduct_problems(run_dir, Verdict(record["verdict"]))
    return gate.downgrade(record, problems) if problems else record
