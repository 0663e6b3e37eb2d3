"""Find known bad changes (unified diffs) by name, and apply them to a source tree and its stack template in memory.

A change applies exactly or is refused with the name of the file and the hunk, because a game day must not judge a
change that was applied in part. Line numbers may differ from the file; context lines may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.build.source_tree import read_template, read_tree, template_name
from kit.errors import UsageError

SUFFIXES = (".patch", ".diff")
HUNK = re.compile(r"@@ -(?P<start>\d+)(?:,(?P<old>\d+))? \+\d+(?:,(?P<new>\d+))? @@")
NO_FILE = "/dev/null"
NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Replaces `old` by `new` lines near line `start` (from 1). Lines keep their line ends."""

    number: int
    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """The hunks of one file. `old_path` is "" for a file that is created, `new_path` for one that is removed."""

    old_path: str
    new_path: str
    hunks: tuple[Hunk, ...]


def known_changes(changes_dir: Path) -> tuple[str, ...]:
    """Return the names that `build_image` accepts as `change`, sorted."""
    return tuple(sorted(path.stem for path in changes_dir.glob("*") if path.suffix in SUFFIXES))


def validate_change(source: Path, change: str | None, changes_dir: Path) -> None:
    """Raise UsageError unless `change` is known and applies to `source`."""
    _changed_files(source, change, changes_dir)


def changed_tree(source: Path, change: str | None, changes_dir: Path) -> dict[str, bytes]:
    """Return the files of the image of `source` with `change` applied, if one is named."""
    files = _changed_files(source, change, changes_dir)
    return {name: content for name, content in files.items() if name != template_name(source)}


def changed_template(source: Path, change: str | None, changes_dir: Path) -> str:
    """Return the text of the stack template of `source` with `change` applied, if one is named."""
    return _changed_files(source, change, changes_dir)[template_name(source)].decode()


def _changed_files(source: Path, change: str | None, changes_dir: Path) -> dict[str, bytes]:
    """Return the image's files and the stack template, which is not part of the image."""
    files = {**read_tree(source), template_name(source): read_template(source)}
    return files if change is None else apply(files, change, path_of(change, changes_dir).read_text(encoding="utf-8"))


def apply(tree: Mapping[str, bytes], change: str, text: str) -> dict[str, bytes]:
    """Apply the unified diff `text`. Raises UsageError, which names the change, the file and the hunk."""
    result = dict(tree)
    patches = list(_parse(change, text))
    if not patches:
        raise UsageError(f"change {change} does not apply: it has no hunks")
    for patch in patches:
        _apply_file(result, change, patch)
    if result == dict(tree):
        raise UsageError(f"change {change} does not apply: it changes nothing")
    return result


def path_of(change: str, changes_dir: Path) -> Path:
    """Return the file of a known change. Raises UsageError, which lists the known ones."""
    known = known_changes(changes_dir)
    if change not in known:
        raise UsageError(f"change {change!r} is unknown; known: {', '.join(known) or 'none'}")
    return next(path for path in (changes_dir / f"{change}{suffix}" for suffix in SUFFIXES) if path.is_file())


def _apply_file(tree: dict[str, bytes], change: str, patch: FilePatch) -> None:
    name = patch.old_path or patch.new_path
    if patch.old_path and patch.old_path not in tree:
        raise UsageError(f"change {change} does not apply: there is no file {name}")
    if not patch.old_path and patch.new_path in tree:
        raise UsageError(f"change {change} does not apply: {name} exists already")
    before = tree.pop(patch.old_path).decode() if patch.old_path else ""
    after = _apply_hunks(change, name, before.splitlines(keepends=True), patch.hunks)
    if patch.new_path:
        tree[patch.new_path] = "".join(after).encode()
    elif after:
        raise UsageError(f"change {change} does not apply: {name} would be removed but has more lines")


def _apply_hunks(change: str, name: str, lines: list[str], hunks: Sequence[Hunk]) -> list[str]:
    result: list[str] = []
    done = 0
    for hunk in hunks:
        at = _find(lines, hunk, done)
        if at is None:
            raise UsageError(
                f"change {change} does not apply: hunk {hunk.number} of {name} (line {hunk.start}) matches no lines"
            )
        result += lines[done:at] + list(hunk.new)
        done = at + len(hunk.old)
    return result + lines[done:]


def _find(lines: list[str], hunk: Hunk, lowest: int) -> int | None:
    """Return the index of the hunk's old lines that is nearest to its line number and not below `lowest`."""
    size = len(hunk.old)
    wanted = max(hunk.start - 1, 0) if size else hunk.start
    matches = [at for at in range(lowest, len(lines) - size + 1) if tuple(lines[at : at + size]) == hunk.old]
    return min(matches, key=lambda at: abs(at - wanted), default=None)


def _parse(change: str, text: str) -> Iterator[FilePatch]:
    """Yield the file patches of a diff. Like patch(1), it ignores text before and between them."""
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        is_header = lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")
        if not is_header:
            at += 1
            continue
        old_path, new_path = _path(lines[at]), _path(lines[at + 1])
        at, hunks = _hunks(change, new_path or old_path, lines, at + 2)
        yield FilePatch(old_path=old_path, new_path=new_path, hunks=tuple(hunks))


def _hunks(change: str, name: str, lines: list[str], at: int) -> tuple[int, list[Hunk]]:
    hunks: list[Hunk] = []
    while at < len(lines) and (head := HUNK.match(lines[at])):
        old_left, new_left = (int(head[side] if head[side] is not None else 1) for side in ("old", "new"))
        old: list[str] = []
        new: list[str] = []
        at += 1
        while at < len(lines) and (len(old) < old_left or len(new) < new_left):
            sign, line = lines[at][:1], lines[at][1:]
            if sign not in {" ", "-", "+", "\n"}:
                break
            if sign == "\n":  # some editors strip the blank from an empty context line
                sign, line = " ", "\n"
            old += [line] if sign in " -" else []
            new += [line] if sign in " +" else []
            at += 1
            if at < len(lines) and lines[at].startswith(NO_NEWLINE):
                for side in (old if sign in " -" else [], new if sign in " +" else []):
                    side[-1:] = [entry.removesuffix("\n") for entry in side[-1:]]
                at += 1
        if (len(old), len(new)) != (old_left, new_left):
            raise UsageError(f"change {change} does not apply: hunk {len(hunks) + 1} of {name} is incomplete")
        hunks.append(Hunk(number=len(hunks) + 1, start=int(head["start"]), old=tuple(old), new=tuple(new)))
    return at, hunks


def _path(header: str) -> str:
    """Return the path of a `---` or `+++` line without its first component (`a/`, `b/`); "" for /dev/null."""
    name = header[4:].split("\t")[0].strip()
    return "" if name == NO_FILE else name.partition("/")[2]
