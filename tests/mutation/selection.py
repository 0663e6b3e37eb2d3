"""Choose the tests that can notice a mutant, the fastest first, from what a run on the good tree recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A test may take this many times as long as on the good tree, and at least so many seconds, before it counts as hung.
SLOWER_MAX = 8.0
LIMIT_S_MIN = 15.0
# Collection and fixtures of the session.
START_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Tests by id, in the order in which they run, each with the longest time that it may take."""

    limits_s: dict[str, float]

    @property
    def limit_s(self) -> float:
        """Return the longest time for all of them: a mutant that is slower hangs."""
        return START_S_MAX + sum(self.limits_s.values()) / 2

    def without(self, test: str) -> Selection:
        return Selection({name: limit for name, limit in self.limits_s.items() if name != test})


def select(baseline: Mapping[str, Any], path: str, lines: Iterable[int], *, processes: bool) -> Selection:
    """Return the tests that run one of the lines, then, if wanted, those that run PaperBroker in its own processes.

    A line that no test runs by itself (a constant, a default) belongs to every test that runs code of its module.
    """
    wanted = set(lines)
    by_module = {name: test for name, test in baseline.items() if path in test["lines"]}
    chosen = {name: test for name, test in by_module.items() if wanted & set(test["lines"][path])} or by_module
    if processes:
        chosen |= {name: test for name, test in baseline.items() if test["process"]}
    ordered = sorted(chosen.items(), key=lambda pair: (pair[1]["process"], pair[1]["s"], pair[0]))
    return Selection({name: max(LIMIT_S_MIN, SLOWER_MAX * test["s"]) for name, test in ordered})
