"""Measure which faulty changes of PaperBroker the fast tests notice: python -m tests.mutation --seed 1 --count 200.

Results are kept in a file, so the same command goes on where an earlier one ended (--minutes ends it early).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.mutation import survivors
from tests.mutation.mutants import Mutant, choose, mutants_of
from tests.mutation.results import SURVIVED, Results, summary, triage
from tests.mutation.runner import ROOT, runner

REPORTS = ROOT / "reports" / "mutation"


def main() -> int:
    """Run the mutants that have no result yet. Returns 1 if a survivor is neither explained nor caught."""
    args = _arguments()
    mutants = _chosen(args)
    results = Results(args.results)
    waiting = [mutant for mutant in mutants if _is_wanted(mutant, results, args.again)]
    if waiting and not args.summary:
        _run(waiting, results, args)
    for line in summary(mutants, results):
        print(line)
    alive = [mutant for mutant in mutants if (result := results.get(mutant)) and result["status"] == SURVIVED]
    unexplained = [mutant for mutant in alive if mutant.id not in triage()]
    if args.survivors:
        explained = [mutant for mutant in alive if triage().get(mutant.id, {}).get("verdict") == "gate"]
        files = survivors.write([*unexplained, *explained], args.survivors)
        print(f"{len(files)} survivors in {args.survivors}")
    return 1 if unexplained else 0


def _run(waiting: list[Mutant], results: Results, args: argparse.Namespace) -> None:
    end = time.monotonic() + 60 * args.minutes
    with runner() as tests:
        tests.measure(args.results.parent)
        for number, mutant in enumerate(waiting, 1):
            if time.monotonic() > end:
                return
            outcome = tests.run(mutant, processes=args.processes)
            results.add(mutant, outcome)
            print(f"{number}/{len(waiting)} {outcome['status']:8} {outcome['took_s']:6.1f} s  {mutant.id}"
                  f"  {outcome['by'].rpartition('/')[2]}", flush=True)  # fmt: skip


def _is_wanted(mutant: Mutant, results: Results, again: bool) -> bool:
    result = results.get(mutant)
    return result is None or (again and result["status"] == SURVIVED)


def _chosen(args: argparse.Namespace) -> list[Mutant]:
    paths = sorted({path for given in args.path for path in ([given] if given.is_file() else given.rglob("*.py"))})
    every = [mutant for path in paths for mutant in mutants_of(path.resolve(), ROOT)]
    if args.only:
        wanted = set(args.only.split(","))
        return [mutant for mutant in every if mutant.id in wanted]
    return choose(every, seed=args.seed, count=args.count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the choice; the same seed chooses the same mutants")
    parser.add_argument("--count", type=int, default=200, help="how many mutants; a larger count only adds some")
    parser.add_argument("--path", type=Path, nargs="+", default=[ROOT / "paperbroker"], help="modules or folders")
    parser.add_argument("--only", default="", metavar="ID,ID", help="these mutants alone")
    parser.add_argument("--again", action="store_true", help="run survivors again, after tests were added")
    parser.add_argument("--processes", action="store_true", help="also the tests that start PaperBroker's processes")
    parser.add_argument("--minutes", type=float, default=600.0, help="start no further mutant after this time")
    parser.add_argument("--results", type=Path, default=REPORTS / "results.jsonl", help="file of results")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    parser.add_argument(
        "--survivors", type=Path, metavar="DIR", help="write survivors as bad changes for gameday power"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
