"""Try the cases of a fuzz target until time is up, and shrink the first one that fails.

Hypothesis draws and shrinks the cases. The same seed gives the same cases; the number of them depends on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

BATCH_CASES = 200
# A parser that needs longer for one small input is a finding too: an attacker sends more of them.
CASE_CPU_S_MAX = 2.0

# How the cases of a target are made is its own business.
QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example)

Check = Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that reads foreign input.

    `open` yields the check, which raises if the promise does not hold for a case. A case is a Python literal (bytes,
    strings, numbers, tuples, lists, dicts), so that its repr can be given to `--case`. `known` are tried first. One
    case may take `cpu_s_max` of CPU time.
    """

    promise: str
    cases: SearchStrategy[Any]
    open: Callable[[], AbstractContextManager[Check]]
    known: Sequence[Any] = ()
    cpu_s_max: float = CASE_CPU_S_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The smallest case that was found to break the promise, and how."""

    case: Any
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many cases were tried, and the first finding."""

    tried: int
    finding: Finding | None


class TooSlow(AssertionError):
    """One case took more CPU time than its target allows."""


def fuzz(target: Target, *, seconds: float, seed: int) -> Outcome:
    """Try the known cases, then new ones for `seconds`; stop at the first finding."""
    with target.open() as check:
        attempts = _Attempts(check, until_s=time.monotonic() + seconds, cpu_s_max=target.cpu_s_max)
        for case in target.known:
            if attempts.fails(case):
                return attempts.outcome()
        batch = 0
        while attempts.finding is None and not attempts.time_is_up():
            _try_batch(target.cases, attempts, seed * 1_000_003 + batch)
            batch += 1
        return attempts.outcome()


def try_case(target: Target, case: Any) -> Outcome:
    """Try one case."""
    with target.open() as check:
        attempts = _Attempts(check, until_s=float("inf"), cpu_s_max=target.cpu_s_max)
        attempts.fails(case)
        return attempts.outcome()


class _Attempts:
    """Runs the check on one case after the other and keeps the last one that failed."""

    def __init__(self, check: Check, *, until_s: float, cpu_s_max: float) -> None:
        self._check = check
        self._until_s = until_s
        self._cpu_s_max = cpu_s_max
        self.tried = 0
        self.finding: Finding | None = None

    def time_is_up(self) -> bool:
        return time.monotonic() >= self._until_s

    def fails(self, case: Any) -> bool:
        """Try the case; return whether it breaks the promise."""
        try:
            self(case)
        except Exception:  # noqa: BLE001 - any exception of the check is the finding, and `finding` holds it
            return True
        return False

    def __call__(self, case: Any) -> None:
        self.tried += 1
        started_s = time.process_time()
        try:
            self._check(case)
            if (took_s := time.process_time() - started_s) > self._cpu_s_max:
                raise TooSlow(f"took {took_s:.1f} s of CPU time, more than {self._cpu_s_max} s")
        except Exception as exc:
            self.finding = Finding(case=case, error=exc)
            raise

    def outcome(self) -> Outcome:
        return Outcome(tried=self.tried, finding=self.finding)


def _try_batch(cases: SearchStrategy[Any], attempts: _Attempts, seed: int) -> None:
    """Try BATCH_CASES cases. If one fails, hypothesis shrinks it and tries the smallest one last."""

    @seeded(seed)
    @settings(
        max_examples=BATCH_CASES,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=QUIET,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(cases)
    def attempt(case: Any) -> None:
        # When time is up, the rest of the batch is skipped, but shrinking goes on.
        if attempts.finding is not None or not attempts.time_is_up():
            attempts(case)

    try:
        attempt()
    except Flaky:
        assert attempts.finding is not None  # It failed once and then did not: the finding is the case that failed.
    except Exception as exc:
        if attempts.finding is None:
            raise  # The strategy itself failed.
        if exc is not attempts.finding.error:
            raise
