"""Build the responses that the load balancer makes itself."""

from email.utils import formatdate
from http import HTTPStatus

SERVER = b"awselb/2.0"


def own_reply(status: int, *, method: bytes = b"GET", close: bool = False) -> bytes:
    """Return an error page in the words of an Application Load Balancer."""
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
    """Return a complete response, or only its head for a HEAD request."""
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
