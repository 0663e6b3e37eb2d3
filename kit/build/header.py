"""What a known bad change says of itself: the comment lines before its diff. Knows neither scenarios nor checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.build.changes import path_of
from kit.build.tree import sha256
from kit.errors import UsageError

FIELDS = ("title", "breaks", "how", "visible-since", "scenario", "caught-by", "tests", "fix")
# Where a change can be noticed first, earliest place first.
STAGES = ("unit", "integration", "load", "fault")
LINE = re.compile(r"# ([a-z-]+): (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """`caught_by`: the checks that must fail in `scenario`, the smallest one that shows the change. `digest` is that of
    the whole file.
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


def read_header(change: str, changes_dir: Path) -> Header:
    """The header of a known change. Raises UsageError that names the file, the field and what is accepted."""
    path = path_of(change, changes_dir)
    said = fields(path)
    for name in FIELDS:
        if not said.get(name, "").strip():
            raise UsageError(f"{path.name}: field {name!r} is missing or empty; a header has {', '.join(FIELDS)}")
    if said["visible-since"] not in STAGES:
        raise UsageError(f"{path.name}: visible-since={said['visible-since']!r} is not one of {', '.join(STAGES)}")
    return Header(
        name=change,
        title=said["title"],
        breaks=said["breaks"],
        how=said["how"],
        visible_since=said["visible-since"],
        scenario=said["scenario"],
        caught_by=tuple(check.strip() for check in said["caught-by"].split(",")),
        fix=said["fix"],
        digest=sha256(path.read_bytes()),
    )


def fields(path: Path) -> Mapping[str, str]:
    """The lines of a header by name, in their order; a line without a name goes on with the one before."""
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
