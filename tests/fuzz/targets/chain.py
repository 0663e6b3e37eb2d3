"""A client, the local load balancer and PaperBroker: what the one forwards, the other must answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from uvicorn.server import ServerState

from tests.fuzz.alb_connection import Proxy
from tests.fuzz.http_messages import pieces_of, raw_requests
from tests.fuzz.paperbroker_connection import broker_on, parse_answers
from tests.fuzz.runner import Check, Target
from tests.fuzz.targets.stream import HANDSHAKE
from tests.fuzz.transport import LinkedTransport, event_loop

STREAM = "\r\n".join(["GET /markets/ACME/stream?after=3 HTTP/1.1", *HANDSHAKE, ""]).encode()


@contextmanager
def opened() -> Iterator[Check]:
    with event_loop() as (loop, told), broker_on(loop, told) as api:
        balancer = Proxy(loop, told)

        def connect_target() -> LinkedTransport:
            near, far = LinkedTransport(loop), LinkedTransport(loop)
            near.link(far)
            api.connect(far, state)
            return near

        state = ServerState()

        def check(case: Any) -> None:
            passed = loop.run_until_complete(balancer.pass_to(connect_target, case))
            api.assert_undisturbed()
            statuses = [status for status, _ in parse_answers(passed.answered)[0]]
            assert all(status < 500 for status in [*passed.own_statuses, *statuses]), f"answered {statuses}"
            assert not state.connections and not state.tasks, "a connection of the target is left"

        yield check


TARGET = Target(
    promise="No request through the load balancer makes it or PaperBroker answer with a 5xx.",
    cases=pieces_of(st.one_of(raw_requests(), raw_requests().map(lambda rest: STREAM + b"\r\n" + rest))),
    open=opened,
    known=[
        [STREAM + b"\r\n"],
        [STREAM + b"X: " + b"x" * 9000 + b"\r\n\r\n"],
        [STREAM + b"X: 1\r\n" * 200 + b"\r\n"],
        [STREAM.replace(b"GET", b"POST") + b"\r\n"],
        [STREAM + b"Content-Length: 3\r\n\r\nabc"],
        [b"POST /orders HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9000\r\n\r\n"],
        [b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000, b"x" * 4000],
        [b"GET /healthz HTTP/1.0\r\n\r\n"],
        [b"HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n"],
    ],
)
