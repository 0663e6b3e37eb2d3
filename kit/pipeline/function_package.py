"""Pack the code of the pipeline's Lambda functions into one file: the same bytes for the same sources."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANDLER = "kit.pipeline.assertion.handler.handle"
CLEAN_UP, DIAGNOSE = "kit.pipeline.ending.clean_up.handle", "kit.pipeline.ending.diagnose.handle"
TELL = "kit.pipeline.ending.tell.handle"
FOLDERS = ("assertion", "ending")
BYTES_MAX = 1_000_000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP file can hold
_MODE = 0o644 << 16


def sources() -> list[Path]:
    """Return the modules that the functions need, the packages' own included."""
    kit = ROOT / "kit"
    packages = [kit / "__init__.py", kit / "ledger_rules.py", kit / "pipeline" / "__init__.py"]
    modules = (path for folder in FOLDERS for path in sorted((kit / "pipeline" / folder).glob("*.py")))
    return [*packages, *modules]


def package() -> bytes:
    """Return the ZIP file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sources():
            entry = zipfile.ZipInfo(str(path.relative_to(ROOT)), _EPOCH)
            entry.external_attr = _MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return made.getvalue()
