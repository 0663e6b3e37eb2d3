"""Fuzz the named targets, or all of them. Exit code 1 and the smallest input if a promise does not hold."""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
import shlex
import sys
import traceback
from collections.abc import Sequence

from tests.fuzz import targets
from tests.fuzz.runner import Outcome, Target, fuzz, try_case

FOUND, USAGE = 1, 4


def names() -> list[str]:
    """Return the names of all targets."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    """Import a target."""
    return importlib.import_module(f"{targets.__name__}.{name}").TARGET


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)
    wanted = args.target or names()
    if unknown := [name for name in wanted if name not in names()]:
        print(f"no target {unknown[0]!r}; there are: {', '.join(names())}", file=sys.stderr)
        return USAGE
    if args.case is not None:
        if len(wanted) != 1:
            print("--case needs one target", file=sys.stderr)
            return USAGE
        return _report(wanted[0], try_case(load(wanted[0]), ast.literal_eval(args.case)), args.seed)
    return max(_report(name, fuzz(load(name), seconds=args.seconds, seed=args.seed), args.seed) for name in wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", metavar="TARGET", help=f"{', '.join(names())}; default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help="try only this input, as a Python literal")
    return parser


def _report(name: str, outcome: Outcome, seed: int) -> int:
    print(f"{name}: {outcome.tried} cases with seed {seed}, {'1 finding' if outcome.finding else 'no finding'}")
    if outcome.finding is None:
        return 0
    outcome.finding.error.__notes__ = []  # Hypothesis adds the case, which the last line holds.
    print("".join(traceback.format_exception(outcome.finding.error)))
    print(f"reproduce: python -m tests.fuzz {name} --case {shlex.quote(repr(outcome.finding.case))}")
    return FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
