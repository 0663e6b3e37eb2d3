"""Replace a file in one step, so that no reader ever sees a half-written one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kit.errors import EvidenceMissing


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON. Raises EvidenceMissing if it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise EvidenceMissing(f"{path} cannot be written: {error.strerror}") from error
