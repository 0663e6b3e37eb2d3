"""`python -m kit.load --plan plan.json --out DIR`: one load, in the process of its own that it must have."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kit.errors import UsageError
from kit.load.generator import generate
from kit.load.plan import LoadPlan
from kit.model import USAGE_EXIT_CODE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.load", description="Send one load plan's operations.")
    parser.add_argument("--plan", type=Path, required=True, help="the plan as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory of the history")
    arguments = parser.parse_args()
    try:
        plan = LoadPlan.from_json(arguments.plan.read_text())
        generate(plan, arguments.out)
    except (UsageError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
