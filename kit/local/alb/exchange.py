"""Carry one request and its response through the load balancer.

A request is sent to a target at most once: bytes that may have reached a target are never sent again.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

from kit.local.alb.framing import Body, CloseBody
from kit.local.alb.heads import HEAD_END, BadMessage, Head
from kit.local.alb.listener_rules import Action, Rule, choose_action, redirect_location
from kit.local.alb.metrics import Counters, NodeCounters, TargetCounters
from kit.local.alb.nodes import Node
from kit.local.alb.proxied_connection import PAUSE_CONNECTING, ProxiedConnection
from kit.local.alb.replies import build_reply, own_reply
from kit.local.alb.targets import Target, TargetGroup
from kit.local.alb.upstream import Pool, UpstreamConnection
from kit.local.endpoints import INTERNET
from kit.local.links import LinkReset

# How much of a request's body is buffered while the connection to the target is being made.
UNSENT_BYTES_MAX = 256 * 1024
# The status that AWS counts when the client disconnects before the answer. It is never sent.
CLIENT_CLOSED = 460


class LoadBalancer(Protocol):
    """The attributes of a load balancer that an exchange uses."""

    @property
    def listener_port(self) -> int: ...
    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def connect_timeout_s(self) -> float: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def random(self) -> random.Random: ...
    @property
    def away_from(self) -> frozenset[str]: ...

    def group(self, arn: str, /) -> TargetGroup | None:
        """Return the target group that a rule forwards to."""
        ...


class Client(ProxiedConnection):
    """The client's side of an exchange, implemented by `ClientConnection`."""

    def __init__(self, balancer: LoadBalancer, node: Node) -> None:
        super().__init__(node.links, near=node.endpoint, far=INTERNET)
        self.balancer = balancer
        self.node = node
        self.address = b"127.0.0.1"

    @property
    def counters(self) -> NodeCounters:
        """The counters of this connection's node in the current period."""
        return self.balancer.counters.node(self.node.endpoint.zone)

    def done(self, *, keep_alive: bool, unread: bool = False) -> None:
        """End the current exchange: go on with the next request, or close."""
        raise NotImplementedError

    def refuse(self, status: int) -> None:
        """Answer the current request with an error and close."""
        raise NotImplementedError

    def feed_tunnel(self) -> None:
        """Pass what the client sent ahead into the tunnel that has opened."""
        raise NotImplementedError


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

    def __init__(self, client: Client, head: Head, body: Body) -> None:
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

    @property
    def is_tunnel(self) -> bool:
        """Whether client and target have switched to WebSocket."""
        return self._tunnel

    # Called by the client's connection.

    def start(self, raw_head: bytes, first: bytes) -> None:
        """Choose the action for the request and start it. `first` holds the body bytes received so far."""
        _, target, _ = self._head.start
        balancer = self._client.balancer
        action = choose_action(balancer.rules, self.method, target, raw_head, self._client.address)
        if action.kind == "forward":
            self._forward(action.choose_group(balancer.random), first)
        else:
            self._answer_action(action, raw_head)

    def feed(self, data: bytes) -> bytes:
        """Take the bytes that belong to the request's body or to the tunnel. Returns the rest."""
        if self._tunnel:
            part, rest = data, b""
        else:
            try:
                taken = self._body.take(data)
            except BadMessage as error:
                self._detach()
                self._client.refuse(error.status)
                return b""
            part, rest = data[:taken], data[taken:]
            self.request_done = self._body.done
        self._client.counters.processed_bytes += len(part)
        if self._upstream is not None:
            self._upstream.write(part)
        else:
            self._unsent += part
            if len(self._unsent) > UNSENT_BYTES_MAX:
                self._client.set_pause(PAUSE_CONNECTING, True)
        return rest

    def last_received_at(self) -> float:
        """Return the loop time at which the target last sent bytes."""
        upstream = self._upstream
        return self._started_at if upstream is None else upstream.last_received_at

    def abandon(self) -> None:
        """End the exchange because the client has disconnected. Bytes in transit must not reach the target."""
        if not self._status and self._target is not None:
            self._client.counters.own_codes[CLIENT_CLOSED] += 1
        self._detach()

    def time_out(self) -> None:
        """End the exchange after the idle timeout."""
        if self._tunnel or self._status:
            self._detach()
            self._client.abort()
        else:
            self._fail(504 if self.request_done else 408)

    def end_drain(self) -> None:
        """End the exchange because the target's deregistration delay is over."""
        if self._tunnel or self._status:
            self._detach()
            self._client.abort()
        else:
            self._fail(502)

    # Called by the upstream connection.

    def on_interim(self, raw: bytes) -> None:
        """Forward a 1xx response (100 Continue lets the client send its body)."""
        self._client.write(raw)

    def on_head(self, status: int, head: Head, body: Body) -> bool:
        """Rewrite the connection fields of the response head. Returns whether the connection becomes a tunnel."""
        self._status = status
        self._counted().observe(status, self._client.loop.time() - self._sent_at)
        lines = [b" ".join((b"HTTP/1.1", *head.start[1:])), *head.passed]
        if status == 101:
            lines += [b"Connection: Upgrade", b"Upgrade: " + head.read.get(b"upgrade", self._head.upgrade)]
            self._tunnel = True
            self.request_done = False
        else:
            # The connection cannot be reused after a request that was sent in part, or an answer that closes it.
            if isinstance(body, CloseBody) or not self.request_done:
                self._keep_alive = False
            if not self._keep_alive:
                lines.append(b"Connection: close")
            elif self._head.start[2] == b"HTTP/1.0":
                lines.append(b"Connection: keep-alive")
        self._head_out = b"\r\n".join(lines) + HEAD_END
        if self._tunnel:
            self._bound_buffers()
            self.on_body(b"")
            self._client.feed_tunnel()
        return self._tunnel

    def _bound_buffers(self) -> None:
        """Let each end of the tunnel notice soon that the other one does not read."""
        self._client.bound_buffers()
        if self._upstream is not None:
            self._upstream.bound_buffers()

    def on_body(self, data: bytes) -> None:
        """Forward bytes of the response."""
        if self._head_out:
            data, self._head_out = self._head_out + data, b""
        self._client.counters.processed_bytes += len(data)
        self._client.write(data)

    def on_complete(self, *, reusable: bool) -> None:
        """End the exchange after a complete response. Keep the target's connection if it can be reused."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        if reusable and self.request_done and self._head.start[2] == b"HTTP/1.1":
            upstream.release()
        else:
            upstream.discard()
        self._detach()
        self._client.done(keep_alive=self._keep_alive, unread=not self.request_done)

    def on_broken(self, why: str) -> None:
        """Answer 502 if nothing was forwarded yet, else cut the response that the client is reading."""
        self._upstream = None
        if not self._status:
            self._fail(502)
            return
        self._detach()
        if self._tunnel:
            self._client.close()
        else:
            self._client.abort()

    def _forward(self, group_arn: str, first: bytes) -> None:
        client, balancer = self._client, self._client.balancer
        group = balancer.group(group_arn)
        target = group.pick(client.node.name, balancer.away_from) if group is not None else None
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
        # Looked up each time, because a response may come in a later period than its request.
        return self._client.balancer.counters.target(*self._counted_as)

    async def _connect(self, pool: Pool) -> None:
        try:
            upstream = await pool.connect(self._client.balancer.connect_timeout_s)
        except TimeoutError:
            self._fail_to_connect(504)
        except (OSError, LinkReset):
            self._fail_to_connect(502)
        else:
            self._connecting = None
            self._client.set_pause(PAUSE_CONNECTING, False)
            self._send_on(upstream)

    def _fail_to_connect(self, status: int) -> None:
        self._connecting = None
        self._counted().connection_errors += 1
        self._fail(status)

    def _send_on(self, upstream: UpstreamConnection) -> None:
        self._upstream = upstream
        upstream.begin(self)
        upstream.pair(self._client)
        self._sent_at = self._client.loop.time()
        unsent, self._unsent = self._unsent, b""
        upstream.write(unsent)

    def _target_head(self) -> bytes:
        head, client = self._head, self._client
        read = head.read
        forwarded_for = read.get(b"x-forwarded-for")
        lines = [
            b" ".join(head.start),
            *head.passed,
            b"X-Forwarded-For: " + (forwarded_for + b", " + client.address if forwarded_for else client.address),
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Port: %d" % client.balancer.listener_port,
            b"X-Amzn-Trace-Id: " + self._trace(read.get(b"x-amzn-trace-id", b"")),
        ]
        upgrade = head.upgrade
        if upgrade:
            lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
        return b"\r\n".join(lines) + HEAD_END

    def _trace(self, given: bytes) -> bytes:
        own = b"1-%08x-%024x" % (int(time.time()), self._client.balancer.random.getrandbits(96))
        if not given:
            return b"Root=" + own
        fields = [part for part in given.split(b";") if part and not part.startswith(b"Self=")]
        first = b"Self=" if any(part.startswith(b"Root=") for part in fields) else b"Root="
        return b";".join([first + own, *fields])

    def _answer_action(self, action: Action, raw_head: bytes) -> None:
        keep_alive = self._keep_alive and self.request_done
        if action.kind == "fixed-response":
            status, body, location = action.status, action.body.encode(), b""
        else:
            host = next((ln[5:].strip() for ln in raw_head.split(b"\r\n") if ln[:5].lower() == b"host:"), b"")
            target_url = redirect_location(
                action, self._head.start[1], host.decode("latin-1"), self._client.balancer.listener_port
            )
            status, body, location = action.status, b"", target_url.encode("latin-1")
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
        client.set_pause(PAUSE_CONNECTING, False)
        client.counters.own_codes[status] += 1
        client.write(own_reply(status, method=self.method, close=not keep_alive))
        client.done(keep_alive=keep_alive, unread=not self.request_done)

    def _detach(self) -> None:
        """Release the target and its connection. Idempotent."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()
        if self._target is not None:
            self._target.in_flight.discard(self)
