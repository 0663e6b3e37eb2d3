"""Read the header of a known bad change: the comment lines before its diff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.build.changes import path_of
from kit.build.source_tree import sha256
from kit.errors import UsageError

FIELDS = ("title", "breaks", "how", "visible-since", "scenario", "caught-by", "tests", "fix")
# The kinds of tests and runs in which a change can be noticed, earliest first.
STAGES = ("unit", "integration", "load", "fault")
LINE = re.compile(r"# ([a-z-]+): (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeHeader:
    """What a change breaks and how it is noticed.

    `caught_by` lists the checks that must fail in `scenario`, the smallest scenario that shows the change. `digest` is
    that of the whole file.
    """

    name: str
    title: str
    breaks: str
    how: str
    visible_since: str
    scenario: str
    caught_by: tuple[str, ...]
    fix: str
    digest: str


def read_change_header(change: str, changes_dir: Path) -> ChangeHeader:
    """Read the header of a known change. Raises UsageError, which names the file, the field and the accepted values."""
    path = path_of(change, changes_dir)
    header = fields(path)
    for name in FIELDS:
        if not header.get(name, "").strip():
            raise UsageError(f"{path.name}: field {name!r} is missing or empty; a header has {', '.join(FIELDS)}")
    if header["visible-since"] not in STAGES:
        raise UsageError(f"{path.name}: visible-since={header['visible-since']!r} is not one of {', '.join(STAGES)}")
    return ChangeHeader(
        name=change,
        title=header["title"],
        breaks=header["breaks"],
        how=header["how"],
        visible_since=header["visible-since"],
        scenario=header["scenario"],
        caught_by=tuple(check.strip() for check in header["caught-by"].split(",")),
        fix=header["fix"],
        digest=sha256(path.read_bytes()),
    )


def fields(path: Path) -> Mapping[str, str]:
    """Return the fields of a header by name, in their order. A line without a name continues the field before it."""
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if match := LINE.fullmatch(line):
            name = match[1]
            found[name] = match[2]
        elif name:
            found[name] += " " + line.removeprefix("#").strip()
        else:
            raise UsageError(f"{path.name}: its first line {line!r} is not '# title: …'")
    return found
