"""Judge the folder of a run that the state machine conducted: by its evidence, then by how it was conducted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.files import read_object
from kit.gameday.judging import judge_folder
from kit.model import Verdict
from kit.verdict import gate

# What the state machine says of a run: its assertions, and the error that ended it; what tasks that failed said.
CONDUCTED = "conducted.json"
REASON_CHARS_MAX = 300


def is_conducted(run_dir: Path) -> bool:
    """Return whether the state machine has conducted the run of this folder."""
    return (run_dir / CONDUCTED).is_file()


def judge_conducted(run_dir: Path) -> dict[str, Any]:
    """Return the verdict record of a conducted run's folder. Raises what `judge_folder` raises."""
    record = judge_folder(run_dir).record()
    conducted = read_object(run_dir / CONDUCTED)
    problems = conduct_problems(conducted)
    # What the judge found says more than a summary of it; only a pass needs what contradicts it first.
    counts = record["verdict"] == Verdict.PASS or conducted.get("error")
    return gate.downgrade(record, problems) if problems and counts else record


def conduct_problems(conducted: Mapping[str, Any]) -> list[str]:
    """Say what speaks against a pass in how the state machine conducted the run.

    An assertion that did not pass contradicts a judge who found nothing: two sources of evidence disagree.
    """
    problems = list(conducted.get("failed", ()))
    if error := conducted.get("error"):
        cause = " ".join(str(error.get("Cause", "")).split())[:REASON_CHARS_MAX]
        problems.append(f"the state machine could not conduct the run: {error.get('Error', 'unknown')}: {cause}")
    for name in ("steadyState", "slos"):
        asserted = conducted.get(name)
        if asserted and not asserted.get("pass"):
            details = asserted.get("details", {})
            reasons = "; ".join(details.get("reasons", []))[:REASON_CHARS_MAX]
            problems.append(f"assertion {details.get('assertion', name)} did not pass: {reasons}")
        elif not asserted and not error:
            problems.append(f"assertion {name} was not made")
    return problems
