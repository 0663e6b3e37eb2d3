"""Wrong usage of the command: one clear line, exit code 4, nothing started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kit.cli import main
from tests.cli.command_line import gameday_command

USAGE = 4


@pytest.fixture
def gameday(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command in this process; gives (exit code, lines on standard error), and checks that nothing started."""
    monkeypatch.setenv("GAMEDAY_REPORTS", "")
    monkeypatch.setenv("GAMEDAY_PORT", "")
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def run(*arguments: str) -> tuple[int, list[str]]:
        code, lines = gameday_command(capsys, *arguments)
        after = {child.pid for child in psutil.Process().children(recursive=True)}
        assert after <= before, "a process was started"
        return code, lines

    return run


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("az-los",), "scenario 'az-los' is unknown; known: api-latency, "),
        (("az-loss", "-p", "scenario=x"), "the scenario is an argument of the command"),
        (("az-loss", "-p", "rate=5"), "parameter 'rate' is unknown; game_day has: change, fault_duration_s"),
        (("az-loss", "-p", "rate"), "'rate' is not NAME=VALUE"),
        (("az-loss", "--rate", "fast"), "rate_per_s='fast' must be a whole number from 1 to 20000"),
        (("az-loss", "--rate", "-5"), "rate_per_s=-5 must be a whole number from 1 to 20000"),
        (("az-loss", "--rate", "0"), "rate_per_s=0 must be"),
        (("az-loss", "-p", "steady_s=-1"), "steady_s=-1 must be"),
        (("az-loss", "--target", "moon"), "target='moon' must be local or aws"),
        (("az-loss", "--region", "here"), "region='here' must be an AWS region such as us-east-1"),
        (("az-loss", "--run-id", "A B"), "run_id='A B' must be empty or 1 to 40 lower-case letters"),
        (("az-loss", "--change", "drop-everything"), "change 'drop-everything' is unknown; known:"),
        (("az-loss", "--port", "x"), "port='x' must be a whole number from 0 to 65535"),
        (("az-loss", "--port", "99999"), "port=99999 must be a whole number from 0 to 65535"),
    ],
)
def test_a_wrong_argument_of_run_is_refused_in_one_line(gameday, tmp_path, arguments, why):
    code, lines = gameday("run", *arguments, "--reports", str(tmp_path))
    assert code == USAGE
    assert len(lines) == 1 and why in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_refused(gameday, tmp_path, taken_port):
    code, lines = gameday("run", "az-loss", "--reports", str(tmp_path), "--port", str(taken_port))
    assert code == USAGE
    assert len(lines) == 1 and f"port {taken_port} on 127.0.0.1 is taken" in lines[0]


def test_a_folder_that_cannot_be_written_is_refused(gameday, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    code, lines = gameday("run", "az-loss", "--reports", str(blocked / "reports"))
    assert code == USAGE
    assert len(lines) == 1 and "cannot be written" in lines[0]


def test_an_account_that_nobody_allowed_is_refused_before_anything_starts(gameday, tmp_path, monkeypatch):
    for name in ("GAMEDAY_ACCOUNTS", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    code, lines = gameday("run", "az-loss", "--reports", str(tmp_path), "--target", "aws")
    assert code == USAGE
    assert len(lines) == 1 and "set GAMEDAY_ACCOUNTS" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_refused(gameday, tmp_path, monkeypatch):
    """The threshold is raised above any disk, since a test cannot fill one."""
    monkeypatch.setattr("kit.gameday.parameters.DISK_FREE_MIN_BYTES", 2**62)
    code, lines = gameday("run", "az-loss", "--reports", str(tmp_path))
    assert code == USAGE
    assert len(lines) == 1 and "MiB free" in lines[0]


def test_a_run_folder_is_never_written_twice(gameday, tmp_path):
    (tmp_path / "again").mkdir()
    code, lines = gameday("run", "az-loss", "--reports", str(tmp_path), "--run-id", "again")
    assert code == USAGE
    assert len(lines) == 1 and "exists" in lines[0]


@pytest.mark.parametrize("arguments", [(), ("run",), ("fly",), ("gate",), ("cloud", "sideways")])
def test_a_command_that_does_not_exist_is_refused(gameday, arguments):
    code, lines = gameday(*arguments)
    assert code == USAGE
    assert len(lines) == 1


def test_a_change_that_does_not_apply_is_refused(gameday, tmp_path, monkeypatch):
    changes = tmp_path / "changes"
    changes.mkdir()
    (changes / "stale.diff").write_text(
        "# title: stale\n--- a/paperbroker/errors.py\n+++ b/paperbroker/errors.py\n@@ -1,2 +1,2 @@\n"
        " a line that was never there\n-old\n+new\n"
    )
    monkeypatch.setattr("kit.gameday.parameters.CHANGES", changes)
    code, lines = gameday("run", "az-loss", "--reports", str(tmp_path / "reports"), "--change", "stale")
    assert code == USAGE
    assert len(lines) == 1 and "stale" in lines[0] and "paperbroker/errors.py" in lines[0]


def test_the_list_names_every_scenario_suite_and_change(capsys):
    assert main.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "az-loss" in listed and "drop-idempotency" in listed and "nightly" in listed
