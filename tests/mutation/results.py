"""Results of mutants in a file of JSON lines, so that a run can be resumed, and what people said about survivors."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.mutation.mutants import Mutant

TRIAGE = Path(__file__).with_name("triage.yaml")
# equivalent: nothing that a client, an operator or another process can see differs. unspecified: something differs, but
# PaperBroker's contract does not say which is right. gate: only a game day can show it, by the check that is named.
VERDICTS = ("equivalent", "unspecified", "gate")
KILLED, SURVIVED = "killed", "survived"


class Results:
    """The last result of each mutant. A result counts only for exactly the same mutated file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._by_id: dict[str, dict[str, Any]] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                self._by_id[result["id"]] = result

    def get(self, mutant: Mutant) -> dict[str, Any] | None:
        result = self._by_id.get(mutant.id)
        return result if result and result["digest"] == _digest(mutant) else None

    def add(self, mutant: Mutant, outcome: dict[str, Any]) -> None:
        result = {
            "id": mutant.id, "path": mutant.path, "operator": mutant.operator, "title": mutant.title(),
            "digest": _digest(mutant), **outcome,
        }  # fmt: skip
        self._by_id[mutant.id] = result
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(result, ensure_ascii=False) + "\n")


def triage() -> dict[str, dict[str, str]]:
    """Return what is known about survivors by id: verdict and reason. Raises ValueError for an entry that is wrong."""
    entries = yaml.safe_load(TRIAGE.read_text(encoding="utf-8")) or []
    for entry in entries:
        if set(entry) != {"id", "change", "verdict", "reason"} or entry["verdict"] not in VERDICTS:
            raise ValueError(f"{TRIAGE.name}: {entry!r} must have id, change, reason and a verdict of {VERDICTS}")
    return {entry["id"]: entry for entry in entries}


def summary(mutants: Sequence[Mutant], results: Results) -> Iterator[str]:
    """Yield how many mutants were noticed, by operator, and the survivors that nobody has looked at."""
    known = triage()
    done = {mutant.id: result for mutant in mutants if (result := results.get(mutant))}
    survivors = [mutant for mutant in mutants if mutant.id in done and done[mutant.id]["status"] == SURVIVED]
    verdicts = Counter(known[mutant.id]["verdict"] for mutant in survivors if mutant.id in known)
    killed, equivalent = len(done) - len(survivors), verdicts["equivalent"]
    score = 100 * killed / (len(done) - equivalent) if len(done) > equivalent else 0.0
    yield f"{len(done)} of {len(mutants)} mutants: {killed} killed, {len(survivors)} survived, {equivalent} equivalent"
    yield f"score without the equivalent ones: {score:.1f} %"
    yield f"survivors looked at: {dict(verdicts)}, not yet: {len(survivors) - sum(verdicts.values())}"
    assertion = sum("AssertionError" in done[each]["how"] or "Failed" in done[each]["how"] for each in done)
    yield f"of the killed ones {assertion} by an assertion or a limit, {killed - assertion} by another error"
    for operator in sorted({mutant.operator for mutant in mutants}):
        of_operator = [done[mutant.id] for mutant in mutants if mutant.operator == operator and mutant.id in done]
        count = sum(result["status"] == KILLED for result in of_operator)
        yield f"  {operator:<18} {count:>4} of {len(of_operator):>4}"
    for mutant in survivors:
        if mutant.id not in known:
            yield f"survivor {mutant.id}  {mutant.path}:{mutant.lines[0]}  {mutant.title()[:160]}"


def _digest(mutant: Mutant) -> str:
    return hashlib.sha256(mutant.after.encode()).hexdigest()[:16]
