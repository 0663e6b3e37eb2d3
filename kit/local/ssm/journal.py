"""What automations under way have to put back, written down before each step acts.

One file an execution in `<state dir>/ssm-automations`, replaced and synced before a step acts, removed once the
execution has ended. What is left when the server starts again (it was killed) is repaired then. Knows neither
steps nor how to repair.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

FOLDER = "ssm-automations"

log = logging.getLogger(__name__)


class AutomationJournal:
    """The journal of one cloud's automations."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def write(self, execution_id: str, record: dict[str, Any]) -> None:
        """Write down where an execution stands; only then may its step act."""
        self._folder.mkdir(exist_ok=True)
        path = self._path(execution_id)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def remove(self, execution_id: str) -> None:
        """The execution has ended."""
        self._path(execution_id).unlink(missing_ok=True)

    def load(self) -> list[dict[str, Any]]:
        """The executions that a former process left under way."""
        if not self._folder.is_dir():
            return []
        # A `.new` file is a write that was cut off; the step that it announces never began.
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
