"""Run the `gameday` command in this process."""

from __future__ import annotations

import pytest

from kit.cli import main


def gameday_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines on standard error."""
    try:
        code = main.main([*arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, capsys.readouterr().err.splitlines()
