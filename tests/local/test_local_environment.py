"""Functions see nothing of the shell that started the local AWS, as tasks do not."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from kit.aws import start_local
from kit.local import environment

FUNCTION = Path(__file__).with_name("programs") / "environment_function.py"
SECRETS = {
    "SECRET_TOKEN_OF_USER": "the user's token",
    "AWS_PROFILE": "the user's profile",
    "AWS_SESSION_TOKEN": "the user's session",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "SSH_AUTH_SOCK": "/the/users/agent",
    "PYTHONPATH": "/the/users/modules",
}


@pytest.mark.slow
def test_a_function_gets_a_clean_environment_and_a_key_of_this_cloud(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", FUNCTION.read_text(encoding="utf-8"))
    with start_local(tmp_path / "state") as cloud:
        functions = cloud.session().client("lambda")
        functions.create_function(
            FunctionName="clean", Runtime="python3.11", Role="arn:aws:iam::000000000000:role/lambda", Timeout=30,
            Handler="app.handler", Code={"ZipFile": code.getvalue()}, Environment={"Variables": {"OWN": "value"}},
        )  # fmt: skip
        answer = functions.invoke(FunctionName="clean")
        seen = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, seen
    assert seen["environment"].items() >= {"OWN": "value", "PATH": os.environ["PATH"]}.items()
    # It has a session token of its own.
    assert [name for name in SECRETS if seen["environment"].get(name)] == ["AWS_SESSION_TOKEN"]
    assert not set(seen["environment"].values()) & set(SECRETS.values())
    assert seen["account"] == "000000000000"
    state = tmp_path / "state"
    assert Path(seen["home"]).is_relative_to(state) and Path(seen["temporary"]).is_relative_to(state)


def test_only_the_named_variables_are_kept(tmp_path):
    shell = {"PATH": "/bin", "TZ": "UTC", "TMPDIR": "/elsewhere", "HOME": "/users/somebody", **SECRETS}
    environment.clean(shell, tmp_path)
    assert shell == {"PATH": "/bin", "TZ": "UTC", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
