"""The `gameday` command: arguments → calls → exit code. It decides nothing.

Exit codes: 0 PASS, 1 FAIL, 2 ABORTED, 3 INVALID, 4 wrong usage (nothing was started). `lint-template`: 1 for errors.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kit.errors import KitError, UnsafeTarget, UsageError
from kit.model import USAGE_EXIT_CODE, Verdict

if TYPE_CHECKING:
    from kit import power

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
STORY_STEPS_MAX = 14
# Arguments of `run` that are parameters of its runner.
RUN_PARAMETERS = ("rate_per_s", "seed", "change", "target", "region", "run_id")


class Parser(argparse.ArgumentParser):
    """argparse with one line and our exit code for wrong usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_EXIT_CODE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a wrong argument prints one line and returns 4."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (UsageError, UnsafeTarget) as error:
        # Guards speak before anything is started; one that speaks later does so inside the runner.
        print(f"gameday: {error}", file=sys.stderr)
        return USAGE_EXIT_CODE
    except KitError as error:
        print(f"gameday: {error}", file=sys.stderr)
        return Verdict.INVALID.exit_code


def _parser() -> Parser:
    parser = Parser(prog="gameday", description="Break PaperBroker on purpose, and judge what survived.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _run_parser(commands.add_parser("run", help="run one scenario and judge it"))
    _suite_parser(commands.add_parser("suite", help="run many scenarios, as many at once as the machine bears"))
    _power_parser(commands.add_parser("power", help="measure what the gate catches: bad changes, and good runs"))
    gate = commands.add_parser("gate", help="exit with the verdict of what is finished: runs, suites, power (CI)")
    gate.add_argument("runs", nargs="+", type=Path, metavar="DIR")
    gate.set_defaults(run=_gate)
    report = commands.add_parser("report", help="write report.html and junit.xml of a run anew")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    report.set_defaults(run=_report)
    _golden_parser(commands.add_parser("golden", help="did it get slower? compare runs with a profile of good ones"))
    _cloud_parser(commands.add_parser("cloud", help="a local AWS that stays up between runs"))
    stop = commands.add_parser("stop", help="stop the faults of a run and delete its stack")
    stop.add_argument("run_id")
    stop.add_argument("--target", choices=("local", "aws"), default="local")
    stop.add_argument("--region", default="us-east-1")
    stop.set_defaults(run=_stop)
    lint = commands.add_parser("lint-template", help="check any AWS FIS experiment template, without an account")
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON or YAML, of the API or CloudFormation")
    lint.set_defaults(run=_lint_template)
    commands.add_parser("list", help="the scenarios, the suites and the known bad changes").set_defaults(run=_list)
    watch = commands.add_parser("_watch")
    watch.add_argument("run_id")
    watch.add_argument("--target")
    watch.add_argument("--region")
    watch.set_defaults(run=_watch)
    execute = commands.add_parser("_execute")
    execute.add_argument("run_dir", type=Path)
    execute.set_defaults(run=_execute)
    return parser


def _run_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario")
    parser.add_argument("--rate", dest="rate_per_s", help="new orders a second")
    parser.add_argument("--seed", help="seed of every random choice")
    parser.add_argument("--change", help="a known bad change to apply to the build")
    parser.add_argument("--target", help="local or aws")
    parser.add_argument("--region")
    parser.add_argument("--port", default="0", help="port of the local AWS, 0 = any free one")
    parser.add_argument("--run-id", dest="run_id", help="name of the run and of its folder")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="folder of the run folders")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="any parameter of the notebook"
    )
    parser.set_defaults(run=_run)


def _suite_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="pr or nightly")
    parser.add_argument("--only", default="", metavar="A,B", help="these scenarios of it")
    parser.add_argument("--jobs", default="auto", help="runs side by side: a number, or auto")
    parser.add_argument("--seed", help="seed of every random choice")
    parser.add_argument("--change", help="a known bad change to apply to the build of every run")
    parser.add_argument("--target", help="local or aws")
    parser.add_argument("--region")
    parser.add_argument("--suite-id", dest="suite_id", default="", help="name of the suite and of its folder")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="folder of the suite's folder")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of every run"
    )
    parser.set_defaults(run=_suite)


def _power_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", metavar="A,B", help="these known bad changes")
    parser.add_argument("--good", type=int, metavar="N", help="so many good runs of the pr suite's scenarios")
    parser.add_argument("--good-only", action="store_true", help="no bad change, good runs only")
    parser.add_argument(
        "--from", dest="made", nargs="+", type=Path, default=[], metavar="DIR", help="good runs and suites to count too"
    )
    parser.add_argument("--any-build", action="store_true", help="count good runs of other builds too")
    parser.add_argument("--jobs", default="auto", help="runs side by side: a number, or auto")
    parser.add_argument("--seed", help="seed of every change's run; good runs count on from it")
    parser.add_argument("--resume", metavar="DIR|latest", help="run what a measurement still lacks")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="folder of the measurement's folder")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of every run"
    )
    parser.set_defaults(run=_power)


def _golden_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    record = actions.add_parser("record", help="make the profile of a scenario from PASS runs")
    record.add_argument("--runs", type=int, default=0, help="make so many runs first, one after the other")
    record.add_argument("--from", dest="made", nargs="+", type=Path, default=[], metavar="RUN_DIR")
    _run_parser(record)
    record.set_defaults(run=_golden_record)
    compare = actions.add_parser("compare", help="exit 1 if three or more runs are slower than the profile")
    compare.add_argument("scenario")
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    compare.add_argument("--reports", type=Path, default=REPORTS, help="folder of the run folders")
    compare.set_defaults(run=_golden_compare)


def _cloud_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("up", "status", "down"))
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--region", default="us-east-1")
    parser.set_defaults(run=_cloud)


def _run(args: argparse.Namespace) -> int:
    from kit import gameday
    from kit.notebook import runner

    path = gameday.notebook_of(args.scenario)
    _set_machine(args)
    given = runner.strict_parameters(path, _given(args, RUN_PARAMETERS))
    plan = gameday.from_notebook(args.scenario, runner.declared_parameters(path), given)
    plan.preflight()
    request = runner.Request(
        notebook=path,
        parameters={**given, "run_id": plan.run_id},
        run_dir=plan.run_dir,
        reproduce=plan.reproduce,
    )
    with gameday.start_watchdog(plan):
        runner.execute(request)
    record = runner.judge_run(plan.run_dir)
    _publish(plan.run_dir, record)
    _print_record(record, plan.run_dir)
    return Verdict(record["verdict"]).exit_code


def _golden_record(args: argparse.Namespace) -> int:
    """Runs that were made count only if they are PASS: the first that is not ends it with its own exit code."""
    from kit import gameday

    made: list[Path] = list(args.made)
    if args.run_id:
        raise UsageError(f"--run-id {args.run_id!r}: the runs of a golden profile name themselves")
    for number in range(args.runs):
        args.run_id = f"golden-{secrets.token_hex(3)}-{number + 1}"
        code = _run(args)
        if code:
            return code
        made.append(args.reports / args.run_id)
    profile = gameday.record_golden(args.scenario, made, args.reports)
    print(f"golden profile of {len(made)} runs in {profile}")
    return 0


def _golden_compare(args: argparse.Namespace) -> int:
    from kit import gameday
    from kit.verdict import gate

    found = gameday.compare_with_golden(args.scenario, args.runs, args.reports)
    for finding in found:
        print(f"{finding.status.value:8}{finding.name} ({finding.phase}): {finding.detail}")
    return gate.worst(gate.VERDICT_OF_STATUS[finding.status] for finding in found).exit_code


def _suite(args: argparse.Namespace) -> int:
    from kit import suite

    plan = suite.make_plan(
        args.suite,
        reports=args.reports,
        given=_given(args, ("seed", "change", "target", "region")),
        only=[name for name in args.only.split(",") if name],
        jobs=args.jobs,
        suite_id=args.suite_id,
    )
    record = suite.Execution(plan, say=_say).run()
    print()
    for line in suite.table(record, plan):
        print(line)
    print(f"\n{record['verdict']}  suite {record['suite']}  {plan.folder / 'index.html'}")
    return Verdict(record["verdict"]).exit_code


def _power(args: argparse.Namespace) -> int:
    from kit import power

    session = _power_resumed(args) if args.resume else _power_begun(args)
    missing, cases = session.missing(), session.plan.cases
    measured_min = sum(case.measured_s for case in missing) / 60
    print(f"{len(missing)} of {len(cases)} cases to run, {measured_min:.0f} min of load in all")
    record = power.Measurement(session, say=_say).run()
    print()
    for line in power.table(record, session.plan.folder):
        print(line)
    print(f"\n{record['verdict']}  power  {session.plan.folder / 'index.html'}")
    return Verdict(record["verdict"]).exit_code


def _power_begun(args: argparse.Namespace) -> power.Session:
    from kit import power

    # Good runs that exist already need not be made again, unless more are asked for.
    usual = 0 if args.made else power.GOOD_RUNS
    return power.begin(
        reports=args.reports,
        made=args.made,
        any_build=args.any_build,
        only=[name for name in args.only.split(",") if name],
        good=usual if args.good is None else args.good,
        good_only=args.good_only,
        given=_given(args, ("seed",)),
        jobs=args.jobs,
    )


def _power_resumed(args: argparse.Namespace) -> power.Session:
    from kit import power

    asked = {
        "--only": args.only, "--good": args.good is not None, "--good-only": args.good_only, "--from": args.made,
        "--any-build": args.any_build, "--seed": args.seed is not None, "-p": args.parameter,
    }  # fmt: skip
    for name in (name for name, given in asked.items() if given):
        raise UsageError(f"--resume {args.resume} goes on with what was asked for then: it takes no {name}")
    return power.reopen(args.resume, reports=args.reports, jobs=args.jobs)


def _say(line: str) -> None:
    print(line, flush=True)


def _set_machine(args: argparse.Namespace) -> None:
    """Folder and port are the machine's, not the experiment's: they reach the notebook through the environment."""
    os.environ["GAMEDAY_REPORTS"] = str(args.reports.resolve())
    os.environ["GAMEDAY_PORT"] = args.port


def _given(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {name: value for name in names if (value := getattr(args, name)) is not None}
    for pair in args.parameter:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"--parameter {pair!r} is not NAME=VALUE")
        given[name] = value
    return given


def _execute(args: argparse.Namespace) -> int:
    """The child of `run`: a failed cell is exit code 1 and needs no traceback here, the notebook holds it."""
    from papermill.exceptions import PapermillExecutionError

    from kit.notebook import runner

    try:
        runner.run_papermill(args.run_dir)
    except PapermillExecutionError:
        return 1
    return 0


def _gate(args: argparse.Namespace) -> int:
    from kit import power, suite
    from kit.notebook import runner
    from kit.verdict import gate

    verdicts = []
    for folder in args.runs:
        if power.is_power(folder):
            found = power.review(folder)
            print("", *found.lines(), sep="\n")
            verdicts.append(found.verdict)
            continue
        for run, record in suite.judge(folder) if suite.is_suite(folder) else [(folder, runner.judge_run(folder))]:
            _print_record(record, run)
            verdicts.append(Verdict(record["verdict"]))
    return gate.worst(verdicts).exit_code


def _report(args: argparse.Namespace) -> int:
    from kit.notebook import runner

    for run in args.runs:
        record = runner.judge_run(run)
        _publish(run, record)
        print(run / "report.html")
    return 0


def _publish(run_dir: Path, record: dict[str, Any]) -> None:
    """Everything that people and CI read, beside the executed runner."""
    from kit import gameday, reports
    from kit.notebook import runner

    (run_dir / "verdict.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    reports.write_junit(record, run_dir / "junit.xml")
    reports.write_html(
        record,
        run_dir / runner.EXECUTED,
        run_dir / "report.html",
        believed=gameday.hypothesis_of(record["scenario"]),
        fidelity=gameday.fidelity_rows(record["scenario"]) if record["target"] == "local" else [],
    )
    reports.write_index(run_dir.parent)


def _print_record(record: dict[str, Any], run_dir: Path) -> None:
    """The verdict, why, the first proof, and where to read on."""
    print(f"\n{record['verdict']}  {record['scenario']}  {record['run_id']}")
    for reason in record["reasons"]:
        print(f"  - {reason}")
    told = [check for check in record["checks"] if check["status"] != "pass" and check["counterexample"]]
    for check in told[:1]:
        print(f"  proof of {check['name']}:")
        for step in check["counterexample"][:STORY_STEPS_MAX]:
            print(f"      {step['what']}")
    report = run_dir / "report.html"
    print(f"  report  {report}\n" if report.exists() else "")


def _cloud(args: argparse.Namespace) -> int:
    from kit import gameday

    for line in gameday.cloud(args.action, port=args.port, seed=args.seed, region=args.region):
        print(line)
    return 0


def _stop(args: argparse.Namespace) -> int:
    from kit import gameday

    for line in gameday.stop_run(args.run_id, target=args.target, region=args.region):
        print(line)
    return 0


def _lint_template(args: argparse.Namespace) -> int:
    from kit.faults.lint import Severity, lint

    remarks = lint(args.files)
    for path, remark in remarks:
        print(f"{path}: {remark}")
    return int(any(remark.severity is Severity.ERROR for _, remark in remarks))


def _watch(args: argparse.Namespace) -> int:
    from kit import gameday

    gameday.guard(args.run_id, target=args.target, region=args.region)
    return 0


def _list(_args: argparse.Namespace) -> int:
    from kit import gameday, suite

    for line in (*gameday.catalogue(), *suite.lines()):
        print(line)
    return 0
