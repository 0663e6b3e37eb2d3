"""`gameday pipeline`: let AWS Step Functions conduct game days."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from kit.cli import results
from kit.cli.arguments import add_option, add_reports, add_run_options, add_target, run_parameters
from kit.errors import EvidenceMissing, UsageError
from kit.model import Verdict
from kit.parameter_specs import PORT
from kit.process.signals import stop_on_signal
from kit.process.terminal import say, warn

if TYPE_CHECKING:
    from kit.aws import Session

OPTIONS = ("rate_per_s", "seed", "change", "target", "region", "run_id")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("pipeline", help="let AWS Step Functions conduct game days")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    up_parser = actions.add_parser("up", help="make the conductor: state machine, functions, task definitions, bucket")
    up_parser.add_argument("--email", default="", help="who is told of runs that did not pass")
    add_target(up_parser)
    up_parser.set_defaults(run=up)
    run_parser = actions.add_parser("run", help="deploy PaperBroker and let the state machine conduct one scenario")
    run_parser.add_argument("scenario")
    add_run_options(run_parser, OPTIONS)
    add_option(run_parser, PORT, default=PORT.default)
    add_reports(run_parser, "folder of the run folders")
    run_parser.set_defaults(run=run)
    for name, action, words in (
        ("status", status, "tell what the conductor does and has done last"),
        ("down", down, "delete the conductor and all artifacts in its bucket"),
    ):
        action_parser = actions.add_parser(name, help=words)
        add_target(action_parser)
        action_parser.set_defaults(run=action)


def up(args: argparse.Namespace) -> int:
    """Make the conductor, or keep the one that is up if it is of this tree of the kit."""
    from kit.pipeline import conductor_stack

    conductor = conductor_stack.up(_session(args), email=args.email)
    say(f"conductor {conductor.state_machine}")
    say(f"artifacts s3://{conductor.bucket}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Conduct one run and return the exit code of its verdict."""
    from kit import gameday
    from kit.notebook import runner
    from kit.pipeline.conducted_run import ConductedRun, publish_again, with_leftovers
    from kit.pipeline.execution import QUIET, Step

    os.environ["GAMEDAY_REPORTS"] = str(args.reports.resolve())
    os.environ["GAMEDAY_PORT"] = str(args.port)
    given = runner.strict_parameters(gameday.NOTEBOOK, run_parameters(args, OPTIONS))
    conducted = ConductedRun(gameday.Parameters(scenario=args.scenario, **given), say=say)
    conducted.parameters.preflight()
    signals: list[str] = []
    began = time.time()

    def show(step: Step) -> None:
        if not step.is_over and step.state not in QUIET:
            say(f"{step.at - began:6.1f} s  {step.state}")

    with gameday.watched_run(conducted.parameters):
        try:
            with stop_on_signal(signals.append):
                conducted.deploy()
                say(f"execution {conducted.start()}")
                conducted.follow(stopped_by=signals, on_step=show)
                record = conducted.fetch()
        finally:
            left = conducted.close()
    record = with_leftovers(record, left)
    verdict = Verdict(record["verdict"])
    try:
        publish_again(conducted.run_dir, record)
    except EvidenceMissing as error:
        # As for `gameday run`: a pass without a report is no evidence.
        warn(f"gameday: {error}")
        verdict = verdict if verdict is Verdict.FAIL else Verdict.INVALID
    results.print_record(record, conducted.run_dir)
    return verdict.exit_code


def status(args: argparse.Namespace) -> int:
    """Print whether the conductor is up, its last executions, and the states of one that runs."""
    from kit.pipeline import conductor_stack, execution

    session = _session(args)
    conductor = conductor_stack.find(session)
    if conductor is None:
        say("down")
        return 0
    say(f"up: {conductor.state_machine}, artifacts in s3://{conductor.bucket}")
    for one in execution.latest(session, conductor.state_machine):
        say(f"{one.started_at:%Y-%m-%d %H:%M:%S}  {one.status:10} {one.name}")
        if one.status == execution.RUNNING:
            say("  in " + ", ".join(execution.open_states(execution.steps(session, one.arn))))
    return 0


def down(args: argparse.Namespace) -> int:
    """Delete the conductor. Raises UsageError while it conducts a run."""
    from kit.pipeline import conductor_stack

    conductor_stack.down(_session(args))
    say("down")
    return 0


def _session(args: argparse.Namespace) -> Session:
    """Return a session with the AWS on which the conductor stays. Raises UsageError if no local AWS stays."""
    from kit import aws
    from kit.gameday.commands import standing_cloud

    if args.target != "local":
        return aws.session(target=args.target, region=args.region)
    standing = standing_cloud()
    if standing is None:
        raise UsageError("no local AWS runs; `gameday cloud up` starts one, `gameday pipeline run` has one of its own")
    return standing.session()
