"""The runtime API of functions is closed to browsers and to other users of this machine."""

from __future__ import annotations

import http.client
import http.server
import os
import pwd
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kit.local import runtime_api
from kit.local.patching import Patches

REQUEST = (
    "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=5); "
    "c.request('GET', '/next'); print(c.getresponse().status)"
)


class Events(http.server.BaseHTTPRequestHandler):
    """Serve one event, as MiniStack's runtime API does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def port() -> Iterator[int]:
    patches = Patches()
    runtime_api.install(patches)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Events) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
    patches.undo()


def status(port: int, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/next", headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_the_function_itself_is_served(port):
    assert status(port) == 200


@pytest.mark.parametrize("foreign", [
    {"Origin": "null"}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Mode": "no-cors"}, {"Host": "evil.example"}, {"Host": "127.0.0.1"},
])  # fmt: skip
def test_a_browser_is_refused(port, foreign):
    assert status(port, **foreign) == 403


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a program as another user")
def test_another_user_is_refused(port):
    nobody = pwd.getpwnam("nobody")
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [python, "-I", "-S", "-c", REQUEST, str(port)], user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
        cwd="/", env={}, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "403", done.stderr


def test_the_patch_can_be_undone():
    before = http.server.BaseHTTPRequestHandler.parse_request
    patches = Patches()
    runtime_api.install(patches)
    patches.undo()
    assert http.server.BaseHTTPRequestHandler.parse_request is before
