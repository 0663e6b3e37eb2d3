"""Lint experiment templates of AWS FIS without an account: what AWS would refuse, and what would hurt more than wanted.

Owns the order of the rules; knows no AWS endpoint and not the local AWS.
"""

from collections.abc import Sequence
from pathlib import Path

from kit.faults.lint.rules import RULES
from kit.faults.lint.source import read_templates
from kit.faults.lint.template import Remark, Severity, read_template

__all__ = ["Remark", "Severity", "lint"]


def lint(paths: Sequence[Path]) -> list[tuple[Path, Remark]]:
    """The remarks on every template of every file, in the files' order.

    Raises UsageError, before anything is judged, when a file cannot be read or holds no FIS template.
    """
    sources = [(path, source) for path in paths for source in read_templates(path)]
    found: list[tuple[Path, Remark]] = []
    for path, source in sources:
        template, remarks = read_template(source)
        remarks += [remark for rule in RULES for remark in rule(template)]
        found += [(path, remark.about(source.name)) for remark in remarks]
    return found
