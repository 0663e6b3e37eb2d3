"""Protect the runtime API, over which functions with a runtime of their own (`provided.*`) get their events.

Its protocol has no credentials: on AWS only the function's own sandbox reaches it. MiniStack serves it on a port of
127.0.0.1 by Python's `http.server`, so a page or another user could take a function's events or answer for it.
"""

from __future__ import annotations

import os
import socket
import struct
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from kit.local.patching import Patches

CONNECTIONS = Path("/proc/net/tcp")
# The columns of /proc/net/tcp.
LOCAL, REMOTE, UID = 1, 2, 7
FOREIGN_HEADERS = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode")

Address = tuple[str, int]


def install(patches: Patches) -> None:
    """Let every `http.server` of this process refuse browsers and other users."""
    patches.wrap_method(BaseHTTPRequestHandler, "parse_request", _parse_request)


def _parse_request(original: Any, handler: BaseHTTPRequestHandler) -> bool:
    if not original(handler):
        return False
    reason = _refusal(handler)
    if reason:
        handler.send_error(403, reason)
    return not reason


def _refusal(handler: BaseHTTPRequestHandler) -> str:
    """Return why the request is refused; "" if it is not."""
    address = handler.connection.getsockname()
    if handler.headers.get_all("Host") != [f"{address[0]}:{address[1]}"]:
        return "foreign Host"
    if any(name in handler.headers for name in FOREIGN_HEADERS):
        return "no browsers here"
    if peer_uid(handler.client_address, address) != os.getuid():
        return "another user"
    return ""


def peer_uid(client: Address, server: Address) -> int | None:
    """Return the user at the client's end of a connection on 127.0.0.1; None if the kernel does not tell."""
    wanted = [_encoded(client), _encoded(server)]
    for line in CONNECTIONS.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[LOCAL : REMOTE + 1] == wanted:
            return int(fields[UID])
    return None


def _encoded(address: Address) -> str:
    """Write an address as /proc/net/tcp does: the IPv4 address in the machine's byte order, and the port."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"
