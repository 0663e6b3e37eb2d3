"""Operations as HTTP/1.1 requests.

Owns PaperBroker's paths and bodies as bytes; must not know connections. Bodies are put together by hand: every value
is a number or an identifier that the plan has checked, and `json.dumps` would cost four times as much.
"""

from __future__ import annotations

from kit.load.orders import Operation
from kit.model import BOOK, CANCEL, GET_ORDER, TRADES


class Requests:
    """Encodes operations for one host. `trace_prefix` is 8 hex digits of the run's start, as AWS has it."""

    __slots__ = ("_seed", "_tail", "_trace_prefix")

    def __init__(self, *, host: str, port: int, seed: int, started_s: int) -> None:
        authority = host if port == 80 else f"{host}:{port}"
        self._tail = f" HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json\r\nX-Amzn-Trace-Id: Root=1-"
        self._trace_prefix = f"{started_s & 0xFFFFFFFF:08x}"
        self._seed = f"{seed:08x}"

    def trace_id(self, op_id: int, number: int) -> str:
        """Fresh for each attempt; operation and attempt can be read off its end."""
        return f"{self._trace_prefix}-{self._seed}{op_id:012x}{number & 0xFFFF:04x}"

    def encode(self, content: Operation, number: int) -> bytes:
        tail = self._tail + self.trace_id(content.op_id, number)
        if content.op == BOOK:
            return f"GET /markets/{content.symbol}/book?depth={content.depth}{tail}\r\n\r\n".encode()
        if content.op == TRADES:
            path = f"/markets/{content.symbol}/trades?after={content.after}&limit={content.limit}"
            return f"GET {path}{tail}\r\n\r\n".encode()
        if content.op == GET_ORDER:
            return f"GET /orders/{content.order_id}?clientId={content.client_id}{tail}\r\n\r\n".encode()
        identity = f'"clientId":"{content.client_id}","idempotencyKey":"{content.idempotency_key}"'
        if content.op == CANCEL:
            path, body = f"/orders/{content.order_id}/cancel", f"{{{identity}}}"
        else:
            path, body = "/orders", f"{{{identity},{_order_fields(content)}}}"
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        return f"POST {path}{tail}\r\n{head}\r\n\r\n{body}".encode()


def _order_fields(content: Operation) -> str:
    price = f',"price":{content.price}' if content.type == "LIMIT" else ""
    return (
        f'"orderId":"{content.order_id}","symbol":"{content.symbol}","side":"{content.side}",'
        f'"type":"{content.type}","tif":"{content.tif}","qty":{content.qty}{price}'
    )
