"""Keep the undo journal: every change is written down before it is made.

Each change is one line in `<state dir>/fis-journal.jsonl`, synced before the action acts and marked as forgotten after
its undo. Changes that a killed server left in force are undone at the next start.
"""

import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.files.replacement import open_appending, replacing_file

FILE_NAME = "fis-journal.jsonl"

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One change. `kind` selects the undo function in `actions.UNDO`, `data` is all that it needs after a restart.

    `handles` identify objects of this process, such as link rules; both do not exist after a restart.
    """

    id: str
    kind: str
    data: dict[str, Any]
    handles: list[str] = field(default_factory=list)


class Journal:
    """The journal of one local AWS."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._count = 0
        self._open: dict[str, Entry] = {}

    def load(self) -> list[Entry]:
        """Return the changes that a former process left in force, newest first, and compact the file."""
        self._open = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                self._replay(line)
        self._count = max((int(entry_id) for entry_id in self._open), default=0)
        self._rewrite()
        return list(reversed(self._open.values()))

    def remember(self, kind: str, data: dict[str, Any]) -> Entry:
        """Write down a change that the caller is about to make."""
        self._count += 1
        entry = Entry(id=str(self._count), kind=kind, data=data)
        self._append({"remember": entry.id, "kind": kind, "data": data})
        self._open[entry.id] = entry
        return entry

    def open_entries(self, kind: str) -> list[Entry]:
        """Return the changes of this kind that are in force, oldest first."""
        return [entry for entry in self._open.values() if entry.kind == kind]

    def forget(self, entry: Entry) -> None:
        """Mark a change as undone."""
        if self._open.pop(entry.id, None) is not None:
            self._append({"forget": entry.id})

    def _replay(self, line: str) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            # The last line of a killed process may be incomplete; its change was never made.
            log.warning("journal line unreadable", extra={"line": line[:200]})
            return
        if "forget" in record:
            self._open.pop(record["forget"], None)
        else:
            entry = Entry(id=record["remember"], kind=record["kind"], data=record["data"])
            self._open[entry.id] = entry

    def _rewrite(self) -> None:
        lines = [
            json.dumps({"remember": each.id, "kind": each.kind, "data": each.data}) for each in self._open.values()
        ]
        with replacing_file(self._path) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def _append(self, record: dict[str, Any]) -> None:
        with open_appending(self._path) as file:
            file.write(f"{json.dumps(record)}\n".encode())
            file.flush()
            os.fsync(file.fileno())
