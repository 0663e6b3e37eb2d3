"""Report names that a template gives more than once. JSON and YAML readers keep the last one without a word."""

from __future__ import annotations

from collections.abc import Iterator

from kit.faults.lint.remark import Remark, warning
from kit.faults.lint.source import Source


def check_repeated_members(source: Source) -> Iterator[Remark]:
    """Report each member that occurs more than once: an action, a target, a parameter."""
    for place, name in source.repeated:
        yield warning("name-given-once", f"{place} has {name!r} more than once; the last one wins")
