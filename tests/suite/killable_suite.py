"""Run a suite of fake runs in a process of its own, which a test can stop or kill: REPORTS NAME,NAME,…"""

import sys
from pathlib import Path

from kit import suite
from kit.model import Verdict
from kit.suite import Member, Plan
from tests.suite.suite_rig import COMMAND


def main() -> None:
    reports, names = Path(sys.argv[1]), sys.argv[2].split(",")
    members = [Member(scenario=name, parameters={}, run_id=f"{name}-0a", measured_s=1, limit_s=300) for name in names]
    plan = Plan(
        suite="pr", suite_id="pr-1", reports=reports, members=tuple(members), parameters={}, jobs=2, reproduce=""
    )
    record = suite.Execution(plan, say=print, command=COMMAND).run()
    sys.exit(Verdict(record["verdict"]).exit_code)


if __name__ == "__main__":
    main()
