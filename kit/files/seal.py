"""Seal records and folders by SHA-256, so that damage to a file is noticed. A seal is no signature.

Whoever can write the files can also seal them again. A seal protects from a damaged disk, an incomplete copy and an
edited number, none of which may turn a failed run into one that passes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from kit.errors import UnreadableFile
from kit.files.json_file import kind_of, read_object
from kit.files.replacement import write_json

SEAL = "sha256"
MANIFEST_FILE = "manifest.json"
MANIFEST_SCHEMA = "gameday.manifest/1"
# The evidence of a run; the files that are made from it are not listed.
EVIDENCE = (
    "observations.json",
    "cleanup.json",
    "conducted.json",
    "stack.yaml",
    "past",
    "history",
    "ledger",
    "platform",
)
BLOCK_BYTES = 1 << 20
PROBLEMS_MAX = 3
# A soak has some two thousand files. The bounds end the work on a folder that somebody else made.
FILES_MAX = 20_000
EVIDENCE_BYTES_MAX = 16 * 1024**3
HIDDEN = "."


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with a member that holds its digest."""
    return {**value, SEAL: digest_of(value)}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a record that `sealed` made, without its digest. Raises UnreadableFile if it was changed since."""
    record = read_object(path)
    given = record.pop(SEAL, None)
    if given != digest_of(record):
        raise UnreadableFile(f"{path.name} has been changed since it was written: {SEAL} does not match its content")
    return record


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value, whatever the order of its members."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: Path, *, headless: bool, verdict: Mapping[str, Any] | None = None) -> None:
    """List the evidence of a run with sizes and digests. `verdict`: its record, once there is one.

    `headless`: the run was conducted by the command, which leaves `run.json` and an executed notebook.
    """
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "headless": headless,
        "verdict": digest_of(verdict) if verdict else "",
        "files": dict(_listing(folder)),
    }
    write_json(folder / MANIFEST_FILE, sealed(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest. Raises UnreadableFile for one that is missing, changed or not of this schema."""
    manifest = read_sealed(folder / MANIFEST_FILE)
    if manifest.get("schema") != MANIFEST_SCHEMA:
        raise UnreadableFile(f"{MANIFEST_FILE}: $.schema is {manifest.get('schema')!r}, expected {MANIFEST_SCHEMA!r}")
    for name, kind in (("headless", bool), ("verdict", str), ("files", dict)):
        if not isinstance(manifest.get(name), kind):
            raise UnreadableFile(f"{MANIFEST_FILE}: $.{name} is {kind_of(manifest.get(name))}")
    return manifest


def check_evidence(folder: Path) -> None:
    """Raise UnreadableFile unless the folder holds the manifest's files as they were, and no other evidence."""
    problems = list(_problems(folder, read_manifest(folder)["files"]))
    if problems:
        more = f" and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
        raise UnreadableFile(f"evidence was changed after it was collected: {'; '.join(problems[:PROBLEMS_MAX])}{more}")


def check_verdict(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise UnreadableFile unless `record` is the verdict that the run gave itself."""
    if read_manifest(folder)["verdict"] != digest_of(record):
        raise UnreadableFile(f"the notebook's verdict is not the one that {MANIFEST_FILE} lists: it was changed")


def _listing(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, path in _evidence(folder):
        if stat.S_ISREG(path.lstat().st_mode):
            with _opened(path) as file:
                yield name, _described(file)


def _evidence(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find every file of evidence, whatever kind of file it is; links are not followed. Hidden files are left out."""
    for name in EVIDENCE:
        path = folder / name
        found: Iterable[Path] = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
        for one in found:
            if os.path.lexists(one) and not (one.is_dir() and not one.is_symlink()) and one.name[0] != HIDDEN:
                yield one.relative_to(folder).as_posix(), one


def _problems(folder: Path, listed: Mapping[str, Any]) -> Iterator[str]:
    """Compare the manifest with the files. No path of the manifest is opened: it may lead anywhere."""
    sizes = [each.get("bytes") if isinstance(each, Mapping) else None for each in listed.values()]
    total = sum(size for size in sizes if isinstance(size, int) and size > 0)
    if total > EVIDENCE_BYTES_MAX:
        yield f"{MANIFEST_FILE} lists {total} bytes, at most {EVIDENCE_BYTES_MAX} are read"
        return
    found = dict(islice(_evidence(folder), FILES_MAX + 1))
    if len(found) > FILES_MAX:
        yield f"the folder holds more than {FILES_MAX} files of evidence"
        return
    yield from (f"{_as_text(name)} is missing" for name in listed if name not in found)
    for name, path in found.items():
        if name not in listed:
            yield f"{_as_text(name)} is not in {MANIFEST_FILE}: it was added"
        elif problem := _difference(path, listed[name]):
            yield f"{_as_text(name)} {problem}"


def _difference(path: Path, expected: Any) -> str:
    """Say how a file differs from what the manifest says of it. A file of another size is not read."""
    try:
        with _opened(path) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return "is not a regular file"
            size = expected.get("bytes") if isinstance(expected, Mapping) else None
            is_same = about.st_size == size and _described(file) == expected
    except OSError as error:
        return "is a symbolic link" if path.is_symlink() else f"cannot be read: {error.strerror}"
    return "" if is_same else "has another content"


def _opened(path: Path) -> BinaryIO:
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _described(file: BinaryIO) -> dict[str, Any]:
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return {"bytes": file.tell(), SEAL: digest.hexdigest()}


def _as_text(name: str) -> str:
    """Return the name of a file for a message: its bytes may be no UTF-8."""
    return name.encode("utf-8", "replace").decode()
