"""`gameday gate`: exit with the verdict of finished runs, suites and power measurements."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from kit.cli import check, results
from kit.cli.evidence_folders import ALL_FOLDERS, check_folders
from kit.model import Verdict
from kit.process.terminal import say


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("gate", help="exit with the worst verdict of finished runs, suites and power folders")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read every folder again from its own evidence; returns the exit code of the worst verdict."""
    from kit.verdict import gate

    check_folders(args.folders, ALL_FOLDERS)
    return gate.worst([verdict for folder in args.folders for verdict in _verdicts(folder)]).exit_code


def _verdicts(folder: Path) -> Iterator[Verdict]:
    from kit import power, suite
    from kit.notebook import run_verdict
    from kit.pipeline import conduct

    if power.is_power(folder):
        review = power.review(folder)
        say("\n".join(["", *review.lines()]))
        yield review.verdict
        return
    if conduct.is_conducted(folder):
        record = check.judged(folder)
        results.print_record(record, folder)
        yield Verdict(record["verdict"])
        return
    for run_dir, record in suite.judge(folder) if suite.is_suite(folder) else [(folder, run_verdict.judge_run(folder))]:
        results.print_record(record, run_dir)
        yield Verdict(record["verdict"])
