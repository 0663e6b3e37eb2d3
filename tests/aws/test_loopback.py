"""Nothing that goes to this machine passes a proxy of the environment."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.aws import loopback

KIT = Path(loopback.__file__).parents[1]
PROXY_NAMES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
DEAD = "http://127.0.0.1:9"


class Answer(http.server.BaseHTTPRequestHandler):
    """Answer with the target of the request, which is a whole URL if this server is used as a proxy."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def proxies(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in PROXY_NAMES:
        monkeypatch.setenv(name, proxy)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_directly(monkeypatch, port, host):
    proxies(monkeypatch, DEAD)
    with loopback.open_url(f"http://{host}:{port}/path", timeout_s=5) as answer:
        assert answer.read() == b"/path"


def test_other_machines_are_reached_by_the_proxy(monkeypatch, port):
    """On a real account a proxy may be the only way out."""
    proxies(monkeypatch, f"http://127.0.0.1:{port}")
    with loopback.open_url("http://balancer.example/readyz", timeout_s=5) as answer:
        assert answer.read() == b"http://balancer.example/readyz"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80/", True), ("http://127.9.9.9/", True), ("http://[::1]:1/", True),
        ("http://bucket.localhost:1/", True), ("http://localhost.example/", False), ("http://10.0.0.1/", False),
        ("http://127.0.0.1.example/", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_loopback_is_recognised_by_its_address(url, expected):
    assert loopback.is_loopback(url) is expected


def test_what_the_environment_excludes_stays_excluded():
    given = {"NO_PROXY": "corp.example, 10.0.0.0/8", "no_proxy": "corp.example,127.0.0.1"}
    value = "corp.example,10.0.0.0/8,127.0.0.1,localhost"
    assert loopback.no_proxy(given) == {"NO_PROXY": value, "no_proxy": value}


def test_no_module_of_the_kit_opens_urls_by_itself():
    """Python's own functions would ask the environment for a proxy. An opener without proxies asks nothing."""
    direct = "build_opener(urllib.request.ProxyHandler({}), "
    opening = ("urlopen(", "build_opener(", "import requests", "import httpx", "import aiohttp", "urllib3.")
    found = {
        str(path.relative_to(KIT))
        for path in KIT.rglob("*.py")
        if any(each in path.read_text(encoding="utf-8").replace(direct, "") for each in opening)
    }
    assert found == {"aws/loopback.py"}
