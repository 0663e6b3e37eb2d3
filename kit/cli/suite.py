"""`gameday suite`: run many scenarios under one gate."""

from __future__ import annotations

import argparse

from kit.cli.arguments import add_jobs, add_option, add_reports, add_run_options, comma_separated, run_parameters
from kit.model import Verdict
from kit.parameter_specs import SUITE_ID
from kit.process.terminal import say

OPTIONS = ("seed", "change", "target", "region")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("suite", help="run many scenarios, as many in parallel as the CPU allows")
    parser.add_argument("suite", help="pr or nightly")
    parser.add_argument("--only", default="", metavar="A,B", help="only these scenarios of the suite")
    add_jobs(parser)
    add_run_options(parser, OPTIONS)
    add_option(parser, SUITE_ID, default=SUITE_ID.default)
    add_reports(parser, "folder in which the suite's folder is made")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the suite; returns the exit code of its worst verdict."""
    from kit import suite

    plan = suite.make_plan(
        args.suite,
        reports=args.reports,
        parameters=run_parameters(args, OPTIONS),
        only=comma_separated(args.only),
        jobs=args.jobs,
        suite_id=args.suite_id,
    )
    record = suite.Execution(plan, say=say).run()
    say()
    for line in suite.table(record, plan):
        say(line)
    say(f"\n{record['verdict']}  suite {record['suite']}  {plan.folder / 'index.html'}")
    return Verdict(record["verdict"]).exit_code
