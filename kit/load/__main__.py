"""`python -m kit.load --plan plan.json --out DIR`: run one load plan, or one shard of it, in this process."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kit.errors import EvidenceMissing, UsageError
from kit.load.generator import generate
from kit.load.plan import LoadPlan
from kit.load.shards import Shard
from kit.model import USAGE_EXIT_CODE

# The lowest real-time priority. The generator sleeps most of the time, and its latencies must not include
# the time that it waits for a busy CPU.
PRIORITY = 1


def take_priority() -> bool:
    """Raise the scheduling priority of this process, not of its children; False if the user may not."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except PermissionError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.load", description="Send the operations of one load plan.")
    parser.add_argument("--plan", type=Path, required=True, help="the plan as JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder of the history")
    parser.add_argument("--shard", type=int, default=0, help="which part of the plan, from 0")
    parser.add_argument("--shards", type=int, default=1, help="in how many parts the plan is split")
    parser.add_argument("--starts-at-ns", type=int, default=0, help="common start of all parts in epoch ns; 0: now")
    arguments = parser.parse_args()
    try:
        plan = LoadPlan.from_json(arguments.plan.read_text())
        shard = Shard(index=arguments.shard, count=arguments.shards, starts_at_ns=arguments.starts_at_ns)
        take_priority()
        generate(plan, arguments.out, shard)
    except (UsageError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_EXIT_CODE
    except EvidenceMissing as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
