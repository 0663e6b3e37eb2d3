"""Web pages in a real Chromium try everything that a page can: nothing of it reaches the local AWS."""

from __future__ import annotations

import http.server
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = Path(__file__).with_name("programs") / "hostile_page.html"
TEMPLATE = '{"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "NAME-form"}}}}'
PAGE_S_MAX = 30_000
# Chromium blocks requests of public pages to loopback itself. The local AWS must not rely on that.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on this machine"),
]


class Site(http.server.BaseHTTPRequestHandler):
    """Serve the hostile page, and whatever a form's navigation leaves behind."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def name(cloud: Any) -> Iterator[str]:
    """The prefix of all that the page tries to make."""
    made = f"browser-{uuid.uuid4().hex[:8]}"
    yield made
    assert cloud.client("sqs").list_queues(QueueNamePrefix=made).get("QueueUrls", []) == []
    stacks = cloud.client("cloudformation").list_stacks()["StackSummaries"]
    assert not [stack for stack in stacks if stack["StackName"].startswith(made)]


@pytest.fixture
def site(cloud: Any, name: str) -> Iterator[str]:
    """A web site on another port of this machine. Return its port."""
    page = PAGE.read_text(encoding="utf-8")
    values = {"ENDPOINT": cloud.endpoint, "TEMPLATE": TEMPLATE.replace('"', "&quot;"), "NAME": name}
    for key, value in values.items():
        page = page.replace(key, value)
    serving = type("Serving", (Site,), {"page": page.encode()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield str(server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


class Visit:
    """One page in the browser, with what the local AWS answered to its requests."""

    def __init__(self, browser: Any, cloud: Any, url: str) -> None:
        self.answers: list[tuple[str, str, int]] = []
        self.page = browser.new_page()
        self.page.on("response", self._note)
        self._endpoint = cloud.endpoint
        self.page.goto(url)

    def _note(self, response: Any) -> None:
        if response.url.startswith(self._endpoint):
            self.answers.append((response.request.method, response.request.resource_type, response.status))

    def outcome(self, attempt: str) -> Any:
        """Let the page try one thing, and return what it learned."""
        return self.page.evaluate(f"attempts[{attempt!r}]()")


ATTEMPTS = ("simple", "noCors", "preflighted", "beacon", "image", "script", "frame", "websocket", "signed")


def test_a_page_on_another_port_gets_nothing_done_and_learns_nothing(browser: Any, cloud: Any, site: str, name: str):
    visit = Visit(browser, cloud, f"http://127.0.0.1:{site}/")
    learned = {attempt: visit.outcome(attempt) for attempt in ATTEMPTS}
    assert learned == dict.fromkeys(ATTEMPTS, "nothing"), visit.answers
    assert visit.answers, "the page did not reach the port of the local AWS at all, so this test has shown nothing"
    assert {status for _, _, status in visit.answers} == {403}
    visit.page.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_form_that_navigates_to_the_local_aws_creates_no_stack(
    browser: Any, cloud: Any, site: str, name: str, host: str
):
    """No CORS rule applies to a navigation, so the browser sends it."""
    visit = Visit(browser, cloud, f"http://{host}:{site}/")
    with visit.page.expect_navigation(timeout=PAGE_S_MAX):
        visit.outcome("form")
    assert visit.answers[-1] == ("POST", "document", 403)
    assert "AccessDenied" in visit.page.content()
    visit.page.close()


def test_a_page_without_an_origin_of_its_own_is_refused_too(browser: Any, cloud: Any, site: str, name: str):
    """A sandboxed frame sends `Origin: null`."""
    visit = Visit(browser, cloud, f"http://127.0.0.1:{site}/")
    assert visit.outcome("sandboxed") == "nothing"
    (frame,) = visit.page.main_frame.child_frames
    # The page itself cannot look into the frame, but the test can.
    assert frame.url.startswith(cloud.endpoint)
    assert "pages of 'null' may not call this local AWS" in frame.content()
    visit.page.close()
