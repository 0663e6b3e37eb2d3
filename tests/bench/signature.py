"""Measure the CPU time of letting one call in: `python -m tests.bench signature`.

The front is called as uvicorn calls it, with calls that botocore has signed. Nothing is asserted, because machines
differ.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from kit.local.front import Front
from kit.local.keyring import Credentials, Keyring
from tests.local.signing import signed_headers

CALLS = 5_000
PORT = 4566
BODIES = {"200 bytes": 200, "4 KiB": 4_096, "1 MiB": 1_048_576}


async def _serve_nothing(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def bench() -> None:
    keyring = Keyring(Credentials.random())
    front = Front(_serve_nothing, keyring, PORT)
    cloud = SimpleNamespace(endpoint=f"http://127.0.0.1:{PORT}", credentials=keyring.operator)
    for name, size in BODIES.items():
        body = b"x" * size
        named = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0"}
        headers = signed_headers(cloud, "dynamodb", body=body, headers={**named, "Host": f"127.0.0.1:{PORT}"})
        raw = [(key.lower().encode(), str(value).encode()) for key, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": raw}

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            raise AssertionError(f"refused: {message}")

        calls = CALLS if size < 1_000_000 else CALLS // 50
        begun = time.process_time()
        for _ in range(calls):
            await front(dict(scope), receive, send)
        print(f"a call with {name}: {(time.process_time() - begun) / calls * 1e6:.0f} µs of CPU")


def main() -> None:
    """Print the figures."""
    asyncio.run(bench())


if __name__ == "__main__":
    main()
