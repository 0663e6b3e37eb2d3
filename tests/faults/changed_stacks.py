"""Write CloudFormation stacks of which a few properties are changed."""

from __future__ import annotations

import re
from pathlib import Path


def with_properties(stack: Path, path: Path, **values: str) -> Path:
    """Write `stack` to `path` with these YAML values; each property stands once on a line of its own."""
    text = stack.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^( +){name}: .*$", rf"\g<1>{name}: {value}", text, flags=re.MULTILINE)
        assert count == 1, f"{name} stands {count} times on a line of its own in {stack.name}"
    path.write_text(text)
    return path
