"""Lint AWS FIS experiment templates without an account: what AWS refuses, and what is unsafe or cannot work."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kit.faults.lint.ecs import check_ecs_prerequisites
from kit.faults.lint.functions import check_lambda_prerequisites
from kit.faults.lint.remark import Remark, Severity, refusal
from kit.faults.lint.repeated import check_repeated_members
from kit.faults.lint.rules import RULES
from kit.faults.lint.source import Source, read_templates
from kit.fis_rules.rules import check_template

__all__ = ["Remark", "Severity", "lint"]


def lint(paths: Sequence[Path]) -> list[tuple[Path, Remark]]:
    """Return the remarks on every template of every file, in the order of the files.

    Raises UsageError, before any template is judged, when a file cannot be read or holds no FIS template.
    """
    sources = [(path, source) for path in paths for source in read_templates(path)]
    return [(path, remark.about(source.name)) for path, source in sources for remark in _remarks(source)]


def _remarks(source: Source) -> Iterator[Remark]:
    checked = check_template(source.body, is_cloudformation=source.is_cloudformation)
    yield from (refusal(problem) for problem in checked.problems)
    for rule in RULES:
        yield from rule(checked.template)
    yield from check_ecs_prerequisites(checked.template, source)
    yield from check_lambda_prerequisites(checked.template, source)
    yield from check_repeated_members(source)
