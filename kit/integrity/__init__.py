"""Whether orders and money stayed right: the client's history against the ledger and what is stored beside it.

Pure functions on evidence (`kit.model` columns as dense numbers): no boto3, no HTTP. One module per family of
invariants; the sequenced ledger is a witness order, so each check is linear and no search.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import pandas as pd

from kit.errors import UsageError
from kit.integrity.arrays.columns import Space
from kit.integrity.arrays.sources import memory_of_the_system
from kit.integrity.checks import (
    authorization,
    book_reads,
    cancels,
    conservation,
    durability,
    fills,
    idempotency,
    order_reads,
    order_states,
    price_time,
    quiescence,
    refusals,
    sequence,
    stored_orders,
    stream,
    trade_reads,
    trades,
)
from kit.integrity.evidence.run_folder import recorded_run
from kit.integrity.evidence.tables import Evidence, assemble, gather
from kit.integrity.findings.check import Check, invalid
from kit.model import FaultWindow, Finding, LoadStats, Status

__all__ = ["CHECKS", "Check", "Evidence", "check_all", "check_run", "gather", "run_check"]

# In the order in which a reader wants them: money first.
CHECKS: tuple[Check, ...] = (
    *fills.CHECKS,
    *trades.CHECKS,
    *idempotency.CHECKS,
    *refusals.CHECKS,
    *durability.CHECKS,
    *sequence.CHECKS,
    *price_time.CHECKS,
    *cancels.CHECKS,
    *authorization.CHECKS,
    *stored_orders.CHECKS,
    *conservation.CHECKS,
    *stream.CHECKS,
    *order_reads.CHECKS,
    *order_states.CHECKS,
    *book_reads.CHECKS,
    *trade_reads.CHECKS,
    *quiescence.CHECKS,
)


def check_all(
    attempts: pd.DataFrame | None,
    stream: pd.DataFrame | None,
    connections: pd.DataFrame | None,
    events: pd.DataFrame | None,
    orders: pd.DataFrame | None,
    positions: pd.DataFrame | None,
    outbox: pd.DataFrame | None,
    *,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    without: Collection[str] = (),
) -> list[Finding]:
    """One finding per check, always all of them: a check without evidence is INVALID and never left out.

    `fault` is told in the counterexamples; `load` lets a truncated history be noticed. `without` names checks that a
    scenario cannot exercise (a load without cancels): they are left out on purpose and by name.
    """
    _demand_known(without)
    tables = {
        "attempts": attempts,
        "stream": stream,
        "connections": connections,
        "events": events,
        "orders": orders,
        "positions": positions,
        "outbox": outbox,
    }
    with closing(gather(tables, fault=fault, load=load)) as evidence:
        return _answers(evidence, without)


def check_run(
    folder: Path,
    *,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    without: Collection[str] = (),
    memory_bytes_max: int | None = None,
) -> list[Finding]:
    """The same of a run's folder (`history/`, `ledger/`), read in blocks of rows: memory holds numbers and no texts.

    Columns beyond `memory_bytes_max` (a third of what is free) go to files in a temporary folder that is removed.
    """
    _demand_known(without)
    space = Space(memory_bytes_max)
    with closing(space), memory_of_the_system():
        recorded, counted = recorded_run(folder, space)
        evidence = assemble(recorded, fault=fault, load=load or counted, space=space)
        return _answers(evidence, without)


def _demand_known(without: Collection[str]) -> None:
    unknown = sorted(set(without) - {check.name for check in CHECKS})
    if unknown:
        raise UsageError(f"integrity: no check is called {unknown[0]!r}")


def _answers(evidence: Evidence, without: Collection[str]) -> list[Finding]:
    return [run_check(check, evidence) for check in CHECKS if check.name not in without]


def run_check(check: Check, evidence: Evidence) -> Finding:
    """The check's finding, or INVALID where the evidence cannot carry it or the check itself broke."""
    reason = _unfit(check, evidence)
    if reason:
        return invalid(check.name, reason)
    try:
        found = check.find(evidence)
    except Exception as error:  # noqa: BLE001 - the one boundary: a checker that crashed has judged nothing
        return invalid(check.name, f"the check itself crashed: {type(error).__name__}: {error}")
    doubt = _doubt(check, evidence)
    return invalid(check.name, doubt) if doubt and found.status is Status.PASS else found


def _unfit(check: Check, evidence: Evidence) -> str:
    """Why the check has nothing to stand on: violations that it found would be noise."""
    for name in (*check.needs, *check.reads):
        if name in evidence.defects:
            return evidence.defects[name]
        if name in check.needs and name != "run" and not len(getattr(evidence, name)):
            return f"{name}: no rows were recorded"
    return _doubt(check, evidence) if check.timed else ""


def _doubt(check: Check, evidence: Evidence) -> str:
    """Why a pass would not count, although a violation would."""
    return next((evidence.clocks[name] for name in check.needs if name in evidence.clocks), "")
