"""Write survivors as bad changes, so that `gameday power --changes DIR` measures whether a game day notices them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant

WIDTH = 118
# Operators whose mutants show under load or faults rather than in a quiet run.
UNDER_FAULT = {
    "drop-retry": "data-throttling", "alter-except": "data-throttling", "drop-raise": "data-throttling",
    "drop-lock": "api-latency", "alter-number": "data-throttling",
}  # fmt: skip
# Checks that fail if money or orders are wrong; a survivor may break any of them.
CHECKS = "acknowledged-never-lost, accepted-equals-sequenced, price-time-replay, order-state-equals-fills"


def write(mutants: Sequence[Mutant], folder: Path) -> list[Path]:
    """Write one diff for each mutant, with the header of a known bad change. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(mutant, folder / f"{mutant.id}.diff") for mutant in mutants]


def _write(mutant: Mutant, path: Path) -> Path:
    fields = {
        "title": f"{mutant.operator} in {mutant.path} {mutant.qualname}",
        "breaks": "unknown: no fast test notices this mutant",
        "how": mutant.title(),
        "visible-since": "fault",
        "scenario": UNDER_FAULT.get(mutant.operator, "steady-state"),
        "caught-by": CHECKS,
        "tests": "none",
        "fix": "undo it",
    }
    header = "".join(_field(name, value) for name, value in fields.items())
    path.write_text(f"{header}\n{mutant.diff()}", encoding="utf-8")
    return path


def _field(name: str, value: str) -> str:
    lines = textwrap.wrap(" ".join(value.split()), WIDTH - len(name) - 4, break_long_words=True)
    return f"# {name}: " + "\n#      ".join(lines) + "\n"
