"""`python -m kit.load --plan plan.json --out DIR`: one load, in the process of its own that it must have."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kit.errors import UsageError
from kit.load.generator import generate
from kit.load.plan import LoadPlan
from kit.model import USAGE_EXIT_CODE

# The lowest real-time priority: the generator sleeps nearly all the time, and what it measures must not be how long
# a busy machine lets it wait.
PRIORITY = 1


def take_priority() -> bool:
    """Ask to be scheduled before ordinary processes, without its children; False where the user may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except PermissionError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.load", description="Send one load plan's operations.")
    parser.add_argument("--plan", type=Path, required=True, help="the plan as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory of the history")
    arguments = parser.parse_args()
    try:
        plan = LoadPlan.from_json(arguments.plan.read_text())
        take_priority()
        generate(plan, arguments.out)
    except (UsageError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
