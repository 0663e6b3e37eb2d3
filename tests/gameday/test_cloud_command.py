"""`gameday cloud`: what it tells a shell about the local AWS that stays between runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kit import aws
from kit.errors import UsageError
from kit.gameday import commands

CLOUD = aws.LocalCloud(
    endpoint="http://127.0.0.1:4566", region="eu-west-1", account_id="000000000000", state_dir=Path(), pid=1,
    credentials=aws.Credentials(access_key="AKIATEST", secret_key="it's $HOME; `id`"),
)  # fmt: skip
USER = {
    "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "mine", "AWS_ACCESS_KEY_ID": "mine", "NO_PROXY": "corp.example",
    "PATH": "/usr/bin:/bin",
}  # fmt: skip


def told(action: str) -> list[str]:
    return list(commands.cloud(action, port=0, seed=1, region="us-east-1"))


def test_a_shell_that_evaluates_it_calls_this_cloud(monkeypatch):
    """Whatever characters the values have, and whatever the user's own AWS settings are."""
    monkeypatch.setattr(commands, "standing_cloud", lambda: CLOUD)
    monkeypatch.setenv("NO_PROXY", "corp.example")
    script = "\n".join([*told("env"), "env -0"])
    done = subprocess.run(["bash", "-c", script], env=USER, capture_output=True, check=True, timeout=10)
    seen = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566" and seen["AWS_REGION"] == "eu-west-1"
    assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SECRET_ACCESS_KEY"]) == ("AKIATEST", "it's $HOME; `id`")
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & seen.keys()
    assert seen["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


def test_without_a_cloud_nothing_is_printed_and_the_command_that_starts_one_is_named(monkeypatch):
    monkeypatch.setattr(commands, "standing_cloud", lambda: None)
    with pytest.raises(UsageError, match="gameday cloud up"):
        told("env")


def test_status_shows_no_secret(monkeypatch):
    monkeypatch.setattr(commands, "standing_cloud", lambda: CLOUD)
    assert told("status") == ["up at http://127.0.0.1:4566"]
