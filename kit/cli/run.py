"""`gameday run`: run one scenario and judge it."""

from __future__ import annotations

import argparse
import os

from kit.cli import results
from kit.cli.arguments import add_option, add_reports, add_run_options, run_parameters
from kit.errors import EvidenceMissing
from kit.model import Verdict
from kit.parameter_specs import PORT
from kit.process.terminal import warn

OPTIONS = ("rate_per_s", "seed", "change", "target", "region", "run_id")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("run", help="run one scenario and judge it")
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what describes one run."""
    parser.add_argument("scenario")
    add_run_options(parser, OPTIONS)
    add_option(parser, PORT, default=PORT.default)
    add_reports(parser, "folder of the run folders")


def run(args: argparse.Namespace) -> int:
    """Check the parameters, execute the notebook in a child process, judge the run and write its report."""
    from kit import gameday
    from kit.notebook import run_verdict, runner

    # Folder and port belong to the machine, not to the experiment: they reach the notebook through the environment.
    os.environ["GAMEDAY_REPORTS"] = str(args.reports.resolve())
    os.environ["GAMEDAY_PORT"] = str(args.port)
    given = runner.strict_parameters(gameday.NOTEBOOK, run_parameters(args, OPTIONS))
    plan = gameday.Parameters(scenario=args.scenario, **given)
    plan.preflight()
    request = runner.Request(
        notebook=gameday.NOTEBOOK,
        parameters={**given, "scenario": plan.scenario, "run_id": plan.run_id},
        run_dir=plan.run_dir,
        reproduce=plan.reproduce,
        longest_stage_s=plan.longest_stage_s,
    )
    with gameday.watched_run(plan):
        runner.execute(request)
    record = run_verdict.judge_run(plan.run_dir)
    verdict = Verdict(record["verdict"])
    try:
        gameday.publish(plan.run_dir, record)
    except EvidenceMissing as error:
        # A report that cannot be written must not hide the verdict, and a pass without a report is no evidence.
        warn(f"gameday: {error}")
        verdict = verdict if verdict is Verdict.FAIL else Verdict.INVALID
    results.print_record(record, plan.run_dir)
    return verdict.exit_code
