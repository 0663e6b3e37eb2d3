"""The responses that the load balancer makes itself.

Owns their wording and bytes; must not know why one is sent.
"""

from email.utils import formatdate
from http import HTTPStatus

SERVER = b"awselb/2.0"


def own_reply(status: int, *, method: bytes = b"GET", close: bool = False) -> bytes:
    """An error page as an Application Load Balancer words it."""
    title = f"{status} {_phrase(status)}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return build_reply(status, b"text/html", page.encode(), method=method, close=close)


def build_reply(
    status: int,
    content_type: bytes,
    body: bytes,
    *,
    method: bytes = b"GET",
    close: bool = False,
    location: bytes = b"",
) -> bytes:
    """A complete response; HEAD gets the head only."""
    lines = [
        b"HTTP/1.1 %d %s" % (status, _phrase(status).encode()),
        b"Server: " + SERVER,
        b"Date: " + formatdate(usegmt=True).encode(),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        b"Connection: close" if close else b"Connection: keep-alive",
    ]
    if location:
        lines.append(b"Location: " + location)
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    return head if method == b"HEAD" else head + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
