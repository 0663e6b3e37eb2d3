"""The remarks of the linter, and their severities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from kit.fis_rules.problems import Problem


class Severity(StrEnum):
    """An error is refused by AWS or unsafe; a warning deserves a look; a note is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What one rule says about one object of a template. `is_refusal`: AWS FIS refuses the template."""

    severity: Severity
    rule: str
    sentence: str
    is_refusal: bool = False

    def about(self, name: str) -> Remark:
        """Name the template that the remark is about."""
        return replace(self, sentence=f"{name}: {self.sentence}") if name else self

    def __str__(self) -> str:
        return f"{self.severity} {self.rule}: {' '.join(self.sentence.split())}"  # one line, whatever a name holds


def refusal(problem: Problem) -> Remark:
    """Report a reason why AWS FIS refuses the template."""
    return Remark(severity=Severity.ERROR, rule=problem.rule, sentence=str(problem), is_refusal=True)


def error(rule: str, sentence: str) -> Remark:
    """Report what AWS FIS accepts, but what is unsafe or cannot work."""
    return Remark(severity=Severity.ERROR, rule=rule, sentence=sentence)


def warning(rule: str, sentence: str) -> Remark:
    return Remark(severity=Severity.WARNING, rule=rule, sentence=sentence)


def note(rule: str, sentence: str) -> Remark:
    return Remark(severity=Severity.NOTE, rule=rule, sentence=sentence)
