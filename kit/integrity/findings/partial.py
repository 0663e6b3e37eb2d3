"""Judge a run in parts, and merge the parts into the findings that one judge makes of the whole run.

A part holds all evidence of some markets, or of some clients. Each check belongs to the axis along which its subjects
are independent; a check without an axis needs the whole run. The whole run also says which evidence is valid, because a
table that is damaged or short cannot be seen in a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from kit.errors import EvidenceMissing
from kit.integrity.evidence.evidence import Evidence
from kit.integrity.findings.check import Check, Result, clock_defect, finding_of, invalid, missing_evidence
from kit.model import Finding, Status, plain


class Axis(StrEnum):
    """What a run is divided by."""

    RUN = "run"  # not at all
    MARKET = "market"
    CLIENT = "client"


_MARKET = """
no-double-fill no-over-fill pair-trades-once trade-ids-unique fill-parties-exist fills-are-legal accepted-orders-legal
trades-within-orders one-event-per-order gap-free-sequence price-time-replay no-fill-after-cancel cancelled-or-filled
cancels-follow-orders order-state-equals-fills bought-equals-sold positions-equal-fills balances-sum-to-zero
stored-as-sequenced accepted-equals-sequenced outbox-empty stream-in-order book-equals-ledger
monotone-books trades-equal-ledger trade-pages-advance
"""
_CLIENT = """
exactly-once-per-key unknown-outcome-at-most-once idempotent-replies reused-key-refused unused-key-not-refused
answered-as-new-once own-orders-cancellable taken-order-id-refused malformed-requests-refused acknowledged-never-lost
no-phantom-orders refused-has-no-effect sequenced-as-sent acknowledged-as-sequenced cancel-takes-effect-once
acknowledged-cancel-never-lost no-phantom-cancels
"""
AXES: Mapping[str, Axis] = {
    **dict.fromkeys(_MARKET.split(), Axis.MARKET),
    **dict.fromkeys(_CLIENT.split(), Axis.CLIENT),
}


def axis_of(check: Check) -> Axis:
    """Return the axis of a check: the whole run, unless it is known to be divisible."""
    return AXES.get(check.name, Axis.RUN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialFinding:
    """What one check counted in one part. `problem` says why it could not judge."""

    name: str
    examined: int = 0
    violations: int = 0
    inconclusive: str = ""
    problem: str = ""
    example: str = ""
    counterexample: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The partial findings of one of `count` parts along an axis.

    The part of axis RUN also holds, by check, why the evidence of the run is not enough at all (`missing`), and why a
    pass would not count (`clock_defects`).
    """

    axis: Axis
    number: int = 0
    count: int = 1
    findings: tuple[PartialFinding, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    clock_defects: Mapping[str, str] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return plain(asdict(self), "part")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Part:
        """Read what `to_plain` made. Raises EvidenceMissing for anything else."""
        try:
            found = tuple(
                PartialFinding(**{**one, "counterexample": tuple(one["counterexample"])}) for one in plain["findings"]
            )
            return cls(**{**plain, "axis": Axis(plain["axis"]), "findings": found})
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceMissing(f"partial findings have another form: {type(error).__name__}: {error}") from error


def examine_part(checks: Iterable[Check], evidence: Evidence, *, axis: Axis, number: int = 0, count: int = 1) -> Part:
    """Run the checks of an axis on one part."""
    checks = tuple(checks)
    found = tuple(_examine(check, evidence) for check in checks if axis_of(check) is axis)
    if axis is not Axis.RUN:
        return Part(axis=axis, number=number, count=count, findings=found)
    missing = {check.name: reason for check in checks if (reason := missing_evidence(check, evidence))}
    clock_defects = {check.name: reason for check in checks if (reason := clock_defect(check, evidence))}
    return Part(axis=axis, findings=found, missing=missing, clock_defects=clock_defects)


def _examine(check: Check, evidence: Evidence) -> PartialFinding:
    try:
        result = check.find(evidence)
        example, steps = result.describe() if result.violations else ("", ())
    except EvidenceMissing as missing:
        return PartialFinding(name=check.name, problem=str(missing))
    except Exception as error:  # noqa: BLE001 - a check that crashed has judged nothing
        problem = f"the check itself crashed: {type(error).__name__}: {error}"
        return PartialFinding(name=check.name, problem=problem)
    return PartialFinding(
        name=check.name,
        examined=result.examined,
        violations=result.violations,
        inconclusive=result.inconclusive,
        example=example,
        counterexample=tuple(steps),
    )


def merge_parts(checks: Sequence[Check], parts: Sequence[Part]) -> list[Finding]:
    """Make the findings of the run from all of its parts.

    Raises EvidenceMissing if a part is missing or comes twice.
    """
    for axis in Axis:
        mine = [part for part in parts if part.axis is axis]
        count = mine[0].count if mine else 1
        if sorted(part.number for part in mine) != list(range(count)) or any(part.count != count for part in mine):
            judged = ", ".join(f"{part.number} of {part.count}" for part in mine) or "none"
            raise EvidenceMissing(f"parts of the run by {axis}: {judged} judged, expected each of {count} once")
    (whole,) = [part for part in parts if part.axis is Axis.RUN]
    return [_merged(check, whole, parts) for check in checks]


def _merged(check: Check, whole: Part, parts: Sequence[Part]) -> Finding:
    if reason := whole.missing.get(check.name):
        return invalid(check.name, reason)
    mine = [part for part in parts if part.axis is axis_of(check)]
    found = [one for part in mine for one in part.findings if one.name == check.name]
    if len(found) != len(mine):
        return invalid(check.name, f"{len(mine) - len(found)} of {len(mine)} parts of the run have no result of it")
    if problem := next((one.problem for one in found if one.problem), ""):
        return invalid(check.name, problem)
    clearest = min((one for one in found if one.violations), key=lambda one: len(one.counterexample), default=None)
    result = Result(
        examined=sum(one.examined for one in found),
        violations=sum(one.violations for one in found),
        describe=lambda: (clearest.example, clearest.counterexample) if clearest else ("", ()),
        inconclusive=next((one.inconclusive for one in found if one.inconclusive), ""),
    )
    merged = finding_of(check, result)
    defect = whole.clock_defects.get(check.name, "")
    return invalid(check.name, defect) if defect and merged.status is Status.PASS else merged
