"""Reach this machine directly: what goes to 127.0.0.1 never passes a proxy that the environment names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from http.client import HTTPResponse

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost")
NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")


def is_loopback(url: str) -> bool:
    """Return whether the URL names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_url(url: str, *, timeout_s: float) -> HTTPResponse:
    """Open a URL. A proxy of the environment is used for other machines only. Raises what `urlopen` raises."""
    import urllib.request

    handlers = [urllib.request.ProxyHandler({})] if is_loopback(url) else []
    return urllib.request.build_opener(*handlers).open(url, timeout=timeout_s)


def no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY in both spellings with this machine added to what the environment excludes already."""
    given = [each.strip() for name in NO_PROXY_NAMES for each in environment.get(name, "").split(",")]
    value = ",".join(dict.fromkeys([*filter(None, given), *LOOPBACK_NAMES]))
    return dict.fromkeys(NO_PROXY_NAMES, value)
