"""Keep a past in the run's folder, as the checks read it."""

from __future__ import annotations

from pathlib import Path

from kit.dynamodb_items import table_of
from kit.model import ATTEMPT_COLUMNS, FIRST, LEDGER_EVENT_COLUMNS, Outcome
from kit.past.records import Past

FOLDER = "past"
# What the columns hold that an operation has not.
ANSWERED = {"kind": FIRST, "attempt": 0, "outcome": Outcome.OK.value, "error": "", "late_status": 0, "late_ns": 0}


def record(past: Past, run_dir: Path) -> None:
    """Write `past/attempts.parquet`, the clients' history, and `past/events.parquet`, the ledger."""
    import pandas as pd

    nothing = {column: "" if kind == "string" else 0 for column, kind in ATTEMPT_COLUMNS.items()}
    rows = [
        {**nothing, **operation, **ANSWERED, **dict.fromkeys(("intended_ns", "invoked_ns", "completed_ns"), at_ns)}
        | {"status": status, "reply": body}
        for operation, (at_ns, status, body) in zip(past.operations, past.answers, strict=True)
    ]
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    attempts = pd.DataFrame(rows, columns=pd.Index(ATTEMPT_COLUMNS)).astype(ATTEMPT_COLUMNS)
    attempts.to_parquet(folder / "attempts.parquet", index=False)
    table_of(past.items["ledger"], LEDGER_EVENT_COLUMNS).to_parquet(folder / "events.parquet", index=False)
