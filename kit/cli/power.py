"""`gameday power`: measure how good the gate is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kit.cli.arguments import add_jobs, add_reports, add_run_options, comma_separated, run_parameters
from kit.errors import UsageError
from kit.model import Verdict
from kit.process.terminal import say

if TYPE_CHECKING:
    from kit import power

OPTIONS = ("seed",)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "power", help="measure the gate: known bad changes it must catch, good runs it must pass"
    )
    parser.add_argument("--only", default="", metavar="A,B", help="only these known bad changes")
    parser.add_argument("--good", type=int, metavar="N", help="make this many good runs of the pr suite's scenarios")
    parser.add_argument("--good-only", action="store_true", help="run no bad change, only good runs")
    parser.add_argument(
        "--from", dest="import_from", nargs="+", type=Path, default=[], metavar="DIR",
        help="also count the good runs in these run and suite folders",
    )  # fmt: skip
    parser.add_argument("--any-build", action="store_true", help="also count good runs of other builds")
    add_jobs(parser)
    add_run_options(parser, OPTIONS)
    parser.add_argument("--resume", metavar="DIR|latest", help="run only what an earlier measurement still lacks")
    add_reports(parser, "folder in which the measurement's folder is made")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run all cases; returns the exit code of the measurement's verdict."""
    from kit import power

    session = _resume(args) if args.resume else _begin(args)
    missing, cases = session.missing(), session.plan.cases
    measured_min = sum(case.measured_s for case in missing) / 60
    say(f"{len(missing)} of {len(cases)} cases to run, {measured_min:.0f} min of load in all")
    record = power.Measurement(session, say=say).run()
    say()
    for line in power.table(record, session.plan.folder):
        say(line)
    say(f"\n{record['verdict']}  power  {session.plan.folder / 'index.html'}")
    return Verdict(record["verdict"]).exit_code


def _begin(args: argparse.Namespace) -> power.Session:
    from kit import power

    # Good runs that exist already need not be made again, unless more are asked for.
    usual = 0 if args.import_from else power.GOOD_RUNS
    return power.begin(
        reports=args.reports,
        import_from=args.import_from,
        any_build=args.any_build,
        only=comma_separated(args.only),
        good=usual if args.good is None else args.good,
        good_only=args.good_only,
        parameters=run_parameters(args, OPTIONS),
        jobs=args.jobs,
    )


def _resume(args: argparse.Namespace) -> power.Session:
    from kit import power

    refused = {
        "--only": args.only, "--good": args.good is not None, "--good-only": args.good_only, "--from": args.import_from,
        "--any-build": args.any_build, "--seed": args.seed is not None, "-p": args.parameter,
    }  # fmt: skip
    for name in (name for name, given in refused.items() if given):
        raise UsageError(f"--resume {args.resume} repeats the earlier measurement's options and takes no {name}")
    return power.reopen(args.resume, reports=args.reports, jobs=args.jobs)
