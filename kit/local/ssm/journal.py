"""Record on disk what running automations have to put back.

Each execution has one file in `<state dir>/ssm-automations`. It is replaced and synced before a step acts, and removed
when the execution has ended. After the server was killed, its next start repairs the executions whose files are left.
"""

import json
import logging
from pathlib import Path
from typing import Any

from kit.files.replacement import replacing_file

FOLDER = "ssm-automations"

log = logging.getLogger(__name__)


class AutomationJournal:
    """The journal of all automations."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def write(self, execution_id: str, record: dict[str, Any]) -> None:
        """Write an execution's record. Its step may act only after that."""
        self._folder.mkdir(exist_ok=True)
        with replacing_file(self._path(execution_id), sync=True) as file:
            file.write(json.dumps(record, default=str).encode())

    def remove(self, execution_id: str) -> None:
        """Remove the record of an execution that has ended."""
        self._path(execution_id).unlink(missing_ok=True)

    def load(self) -> list[dict[str, Any]]:
        """Return the records of the executions that a killed server left."""
        if not self._folder.is_dir():
            return []
        # A file with another name was not written completely, so its step never began.
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [record for record in found if record is not None]

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            log.error("automation journal unreadable", extra={"path": str(path)})
            return None

    def _path(self, execution_id: str) -> Path:
        return self._folder / f"{execution_id}.json"
