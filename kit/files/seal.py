"""Seal records and folders by SHA-256, so that damage to a file is noticed. A seal is no signature.

Whoever can write the files can also seal them again. A seal protects from a damaged disk, an incomplete copy and an
edited number, none of which may turn a failed run into one that passes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.errors import UnreadableFile
from kit.files.json_file import kind_of, read_object
from kit.files.replacement import write_json

SEAL = "sha256"
MANIFEST_FILE = "manifest.json"
MANIFEST_SCHEMA = "gameday.manifest/1"
# The evidence of a run; the files that are made from it are not listed.
EVIDENCE = ("observations.json", "cleanup.json", "stack.yaml", "history", "ledger", "platform")
BLOCK_BYTES = 1 << 20
PROBLEMS_MAX = 3


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
        "files": {path.relative_to(folder).as_posix(): _described(path) for path in _evidence(folder)},
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
    """Raise UnreadableFile unless every file of the manifest is in the folder as it was when it was listed."""
    problems = list(_problems(folder, read_manifest(folder)["files"]))
    if problems:
        more = f" and {len(problems) - PROBLEMS_MAX} more" if len(problems) > PROBLEMS_MAX else ""
        raise UnreadableFile(f"evidence was changed after it was collected: {'; '.join(problems[:PROBLEMS_MAX])}{more}")


def check_verdict(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise UnreadableFile unless `record` is the verdict that the run gave itself."""
    if read_manifest(folder)["verdict"] != digest_of(record):
        raise UnreadableFile(f"the notebook's verdict is not the one that {MANIFEST_FILE} lists: it was changed")


def _evidence(folder: Path) -> Iterator[Path]:
    for name in EVIDENCE:
        path = folder / name
        found: Iterable[Path] = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file())


def _problems(folder: Path, listed: Mapping[str, Any]) -> Iterator[str]:
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif not path.resolve().is_relative_to(folder.resolve()):
            yield f"{name} lies outside the run's folder"
        elif _described(path) != expected:
            yield f"{name} has another content"


def _described(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return {"bytes": path.stat().st_size, SEAL: digest.hexdigest()}
