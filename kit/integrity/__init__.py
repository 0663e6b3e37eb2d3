"""Check that orders and money stayed right: the clients' history against the ledger and the stored state.

`check_run` judges a run's folder. A run that is too large for one machine is divided by markets and by clients
(`divide_by_market`, `divide_by_client`). `check_part` judges each part, and once the whole run by what cannot be
divided. `merge_parts` gives the findings of `check_run`.

Each module of `checks` holds one family of invariants as pure functions on evidence. The ledger's sequence says in
which order things happened, so each check takes linear time and searches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.arrays.parquet_table import system_memory_pool
from kit.integrity.checks import (
    acceptance_times,
    answers,
    authorization,
    book_reads,
    cancels,
    conservation,
    durability,
    fills,
    idempotency,
    marks,
    order_ids,
    order_reads,
    past,
    price_time,
    quiescence,
    sequence,
    stream,
    stream_places,
    telemetry,
    telemetry_balancer,
    telemetry_lag,
    telemetry_latency,
    telemetry_queue,
    telemetry_store,
    trade_reads,
)
from kit.integrity.evidence.assembly import read_evidence
from kit.integrity.evidence.partitions import divide_by_client, divide_by_market
from kit.integrity.findings import partial
from kit.integrity.findings.check import Check, invalid, run_check
from kit.integrity.findings.partial import Axis, Part
from kit.model import FaultWindow, Finding, LoadStats

__all__ = [
    "CHECKS", "Axis", "Check", "Part", "check_part", "check_run", "divide_by_client", "divide_by_market", "merge_parts",
]  # fmt: skip

# In the order in which a reader wants them: money first.
CHECKS: tuple[Check, ...] = (
    *fills.CHECKS,
    *idempotency.CHECKS,
    *answers.CHECKS,
    *order_ids.CHECKS,
    *acceptance_times.CHECKS,
    *durability.CHECKS,
    *sequence.CHECKS,
    *past.CHECKS,
    *price_time.CHECKS,
    *cancels.CHECKS,
    *authorization.CHECKS,
    *conservation.CHECKS,
    *stream.CHECKS,
    *stream_places.CHECKS,
    *order_reads.CHECKS,
    *book_reads.CHECKS,
    *trade_reads.CHECKS,
    *quiescence.CHECKS,
    *marks.CHECKS,
    *telemetry.CHECKS,
    *telemetry_latency.CHECKS,
    *telemetry_lag.CHECKS,
    *telemetry_balancer.CHECKS,
    *telemetry_store.CHECKS,
    *telemetry_queue.CHECKS,
)


def check_run(
    run_dir: Path,
    *,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    memory_bytes_max: int | None = None,
) -> list[Finding]:
    """Judge a run's folder: one finding for each check, INVALID where evidence is missing.

    The evidence is in `history/`, `ledger/`, `past/` and `platform/`. `fault` appears in the counterexamples. `load` is
    what the generator counted, by default as the history's summary has it. Tables are read in blocks. Columns beyond
    `memory_bytes_max` (by default a third of the free memory) go to files in a temporary folder that is removed.
    """
    storage = ColumnStorage(memory_bytes_max)
    with closing(storage), system_memory_pool():
        try:
            evidence = read_evidence(run_dir, storage, fault=fault, load=load)
        except Exception as error:  # noqa: BLE001 - evidence that cannot be read must not end a run without a verdict
            reason = f"{run_dir} cannot be read as a run's folder, {type(error).__name__}: {error}"
            return [invalid(check.name, reason) for check in CHECKS]
        return [run_check(check, evidence) for check in CHECKS]


def check_part(
    folder: Path,
    axis: Axis,
    *,
    number: int = 0,
    count: int = 1,
    fault: FaultWindow | None = None,
    load: LoadStats | None = None,
    memory_bytes_max: int | None = None,
) -> Part:
    """Judge one part of a run by the checks of its axis; with Axis.RUN, the run's own folder.

    Raises EvidenceMissing for a folder that cannot be read.
    """
    storage = ColumnStorage(memory_bytes_max)
    with closing(storage), system_memory_pool():
        evidence = read_evidence(folder, storage, fault=fault, load=load)
        return partial.examine_part(CHECKS, evidence, axis=axis, number=number, count=count)


def merge_parts(parts: Sequence[Part]) -> list[Finding]:
    """Make the findings of `check_run` from those of all parts. Raises EvidenceMissing if a part is missing."""
    return partial.merge_parts(CHECKS, parts)
