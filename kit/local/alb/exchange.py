"""One request and its response through the load balancer.

Owns forwarding, the load balancer's own errors, and what is counted for both. Must not know MiniStack, health
checks or where rules come from. A request is sent to a target at most once: whatever may have reached a target
is never sent again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kit.local.alb.framing import HEAD_END, BadMessage, Body, CloseBody, Head
from kit.local.alb.listener_rules import Action, choose_action, redirect_location
from kit.local.alb.metrics import TargetCounters
from kit.local.alb.proxied_connection import HOLD_CONNECT
from kit.local.alb.replies import build_reply, own_reply
from kit.local.alb.targets import Target
from kit.local.alb.upstream import Pool, UpstreamConnection
from kit.local.links import LinkReset

if TYPE_CHECKING:
    from kit.local.alb.proxy import ClientConnection

# Request body kept while the connection to the target is being made.
UNSENT_BYTES_MAX = 256 * 1024
# What AWS counts when the client hangs up before its answer; never sent.
CLIENT_CLOSED = 460


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_body",
        "_client",
        "_connecting",
        "_counted_as",
        "_head",
        "_head_out",
        "_keep_alive",
        "_sent_at",
        "_started_at",
        "_status",
        "_target",
        "_tunnel",
        "_unsent",
        "_upstream",
        "method",
        "request_done",
        "wants_upgrade",
    )

    def __init__(self, client: ClientConnection, head: Head, body: Body) -> None:
        self._client = client
        self._head = head
        self._body = body
        self.method = head.start[0]
        self.wants_upgrade = bool(head.upgrade)
        self.request_done = body.done
        self._keep_alive = head.keeps_alive
        self._started_at = client.loop.time()
        self._sent_at = 0.0
        self._status = 0
        self._tunnel = False
        self._head_out = b""
        self._unsent = b""
        self._target: Target | None = None
        self._counted_as = ("", "")
        self._upstream: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None

    # Called by the client's connection

    def start(self, raw_head: bytes, first: bytes) -> None:
        """Choose what answers and set it going; `first` is what already came of the body."""
        _, target, _ = self._head.start
        action = choose_action(self._client.front.rules, self.method, target, raw_head)
        if action.kind == "forward":
            self._forward(action.target_group_arn, first)
        else:
            self._answer_action(action, raw_head)

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the request's body or to the tunnel; returns the rest."""
        if self._tunnel:
            part, rest = data, b""
        else:
            try:
                taken = self._body.take(data)
            except BadMessage:
                self._detach()
                self._client.exchange = None
                self._client.refuse(400)
                return b""
            part, rest = data[:taken], data[taken:]
            self.request_done = self._body.done
        self._client.counters.processed_bytes += len(part)
        if self._upstream is not None:
            self._upstream.write(part)
        else:
            self._unsent += part
            if len(self._unsent) > UNSENT_BYTES_MAX:
                self._client.hold(HOLD_CONNECT, True)
        return rest

    def heard_at(self) -> float:
        """When the target's side last moved."""
        upstream = self._upstream
        return self._started_at if upstream is None else upstream.heard_at

    def abandon(self) -> None:
        """The client is gone: nothing that is still under way may reach the target."""
        if not self._status and self._target is not None:
            self._client.counters.own_codes[CLIENT_CLOSED] += 1
        self._detach()

    def time_out(self) -> None:
        """Nothing moved for the idle time-out."""
        if self._tunnel or self._status:
            self._detach()
            self._client.abort()
        else:
            self._fail(504 if self.request_done else 408)

    def end_drain(self) -> None:
        """The target's deregistration delay is over and this is still in flight."""
        if self._tunnel or self._status:
            self._detach()
            self._client.abort()
        else:
            self._fail(502)

    # Called by the upstream connection

    def on_interim(self, raw: bytes) -> None:
        """Pass a 1xx response on (100 Continue lets the client send its body)."""
        self._client.write(raw)

    def on_head(self, status: int, head: Head, body: Body) -> bool:
        """The response begins: rewrite its connection fields and decide what becomes of the connection."""
        self._status = status
        self._counted().observe(status, self._client.loop.time() - self._sent_at)
        lines = [b" ".join((b"HTTP/1.1", *head.start[1:])), *head.passed]
        if status == 101:
            lines += [b"Connection: Upgrade", b"Upgrade: " + head.read.get(b"upgrade", self._head.upgrade)]
            self._tunnel = True
            self.request_done = False
        else:
            # An answer to a half-sent request, or one that ends with the connection, cannot be followed.
            if isinstance(body, CloseBody) or not self.request_done:
                self._keep_alive = False
            if not self._keep_alive:
                lines.append(b"Connection: close")
            elif self._head.start[2] == b"HTTP/1.0":
                lines.append(b"Connection: keep-alive")
        self._head_out = b"\r\n".join(lines) + HEAD_END
        if self._tunnel:
            self.on_body(b"")
            self._client.feed_tunnel()
        return self._tunnel

    def on_body(self, data: bytes) -> None:
        """Pass the response on as it comes."""
        if self._head_out:
            data, self._head_out = self._head_out + data, b""
        self._client.counters.processed_bytes += len(data)
        self._client.write(data)

    def on_complete(self, *, reusable: bool) -> None:
        """The response is whole: keep the target's connection if it can be used again."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        if reusable and self.request_done and self._head.start[2] == b"HTTP/1.1":
            upstream.release()
        else:
            upstream.discard()
        self._detach()
        self._client.done(keep_alive=self._keep_alive, unread=not self.request_done)

    def on_broken(self, why: str) -> None:
        """The target went away: 502 while nothing was passed on, else the client sees a cut response."""
        self._upstream = None
        if not self._status:
            self._fail(502)
            return
        self._detach()
        if self._tunnel:
            self._client.close()
        else:
            self._client.abort()

    # Inside

    def _forward(self, group_arn: str, first: bytes) -> None:
        client, front = self._client, self._client.front
        group = front.group(group_arn)
        target = group.pick(client.node.name, front.away_from) if group is not None else None
        if group is None or target is None:
            self._fail(503)
            return
        counters = client.counters
        counters.requests += 1
        self._target = target
        self._counted_as = (group.spec.full_name, target.zone)
        self._counted().requests += 1
        target.in_flight.add(self)
        self._unsent = self._target_head() + first
        counters.processed_bytes += len(self._unsent)
        pool = client.node.pool(target)
        upstream = pool.take()
        if upstream is not None:
            self._send_on(upstream)
        else:
            self._connecting = asyncio.ensure_future(self._connect(pool))

    def _counted(self) -> TargetCounters:
        # Looked up each time: a response may come in a later period than its request.
        return self._client.front.counters.target(*self._counted_as)

    async def _connect(self, pool: Pool) -> None:
        try:
            upstream = await pool.connect(self._client.front.connect_timeout_s)
        except TimeoutError:
            self._fail_to_connect(504)
        except (OSError, LinkReset):
            self._fail_to_connect(502)
        else:
            self._connecting = None
            self._client.hold(HOLD_CONNECT, False)
            self._send_on(upstream)

    def _fail_to_connect(self, status: int) -> None:
        self._connecting = None
        self._counted().connection_errors += 1
        self._fail(status)

    def _send_on(self, upstream: UpstreamConnection) -> None:
        self._upstream = upstream
        upstream.begin(self)
        upstream.join(self._client)
        self._sent_at = self._client.loop.time()
        unsent, self._unsent = self._unsent, b""
        upstream.write(unsent)

    def _target_head(self) -> bytes:
        head, client = self._head, self._client
        read = head.read
        came_from = read.get(b"x-forwarded-for")
        lines = [
            b" ".join(head.start),
            *head.passed,
            b"X-Forwarded-For: " + (came_from + b", " + client.address if came_from else client.address),
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Port: %d" % client.front.listener_port,
            b"X-Amzn-Trace-Id: " + self._trace(read.get(b"x-amzn-trace-id", b"")),
        ]
        upgrade = head.upgrade
        if upgrade:
            lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
        return b"\r\n".join(lines) + HEAD_END

    def _trace(self, given: bytes) -> bytes:
        own = b"1-%08x-%024x" % (int(time.time()), self._client.front.random.getrandbits(96))
        if not given:
            return b"Root=" + own
        fields = [part for part in given.split(b";") if part and not part.startswith(b"Self=")]
        first = b"Self=" if any(part.startswith(b"Root=") for part in fields) else b"Root="
        return b";".join([first + own, *fields])

    def _answer_action(self, action: Action, raw_head: bytes) -> None:
        keep_alive = self._keep_alive and self.request_done
        if action.kind == "fixed-response":
            status, body, location = action.status, action.body.encode(), b""
        elif action.kind == "redirect":
            host = next((ln[5:].strip() for ln in raw_head.split(b"\r\n") if ln[:5].lower() == b"host:"), b"")
            where = redirect_location(
                action, self._head.start[1], host.decode("latin-1"), self._client.front.listener_port
            )
            status, body, location = action.status, b"", where.encode("latin-1")
        else:
            # Never pretend: an action that is not built here says so.
            status, location = 501, b""
            body = f"the local load balancer has no action {action.kind!r}".encode()
        self._client.counters.own_codes[status] += 1
        reply = build_reply(
            status, action.content_type.encode(), body, method=self.method, close=not keep_alive, location=location
        )
        self._client.write(reply)
        self._client.done(keep_alive=keep_alive, unread=not self.request_done)

    def _fail(self, status: int) -> None:
        self._detach()
        keep_alive = self._keep_alive and self.request_done
        client = self._client
        client.hold(HOLD_CONNECT, False)
        client.counters.own_codes[status] += 1
        client.write(own_reply(status, method=self.method, close=not keep_alive))
        client.done(keep_alive=keep_alive, unread=not self.request_done)

    def _detach(self) -> None:
        """Let go of the target; idempotent."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()
        if self._target is not None:
            self._target.in_flight.discard(self)
