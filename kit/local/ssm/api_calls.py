"""Calls of runbook steps to AWS APIs: botocore against the local endpoint itself, off the event loop.

Owns clients and threads. A call that has begun is always waited for, also when its step is dropped: it may still
take effect, and what repairs it must come after. Knows no steps.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from kit.local.ssm.errors import StepFailed, StepInputInvalid

if TYPE_CHECKING:
    import botocore.session

THREADS_MAX = 8
# AWS ends an aws:executeAwsApi call after 25 s.
CALL_S_MAX = 25
CONNECT_S_MAX = 2
# Throttling and dropped connections are retried by botocore, this often in all.
TRIES_MAX = 3
CLIENTS_KEPT_MAX = 64


class ApiCaller:
    """Calls any API of the local AWS on behalf of an account."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="ssm-call")
        self._session: botocore.session.Session | None = None
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._making = threading.Lock()

    def close(self) -> None:
        """No more calls; those that run end by their own time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def warm(self, services: Collection[str], account: str, region: str) -> None:
        """Make the clients that a runbook will need: making one takes longer than a repair may."""
        for service in services:
            await self._in_thread(self._client, service, account, region)

    async def call(self, service: str, api: str, arguments: Mapping[str, Any], account: str, region: str) -> Any:
        """The answer. Raises StepInputInvalid for what can never work, StepFailed for what failed."""
        return await self._in_thread(self._call, service, api, arguments, account, region)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            future.exception()  # seen; the step is dropped whatever came of it
            raise

    def _call(self, service: str, api: str, arguments: Mapping[str, Any], account: str, region: str) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        client = self._client(service, account, region)
        method, operation = _method(client, service, api)
        if operation.has_streaming_output or operation.has_event_stream_output:
            raise StepInputInvalid(
                f"{service} {api} is a streaming operation; aws:executeAwsApi does not support those"
            )
        try:
            return getattr(client, method)(**arguments)
        except (ParamValidationError, TypeError) as error:
            raise StepInputInvalid(f"{service} {api}: {error}") from error
        except (ClientError, BotoCoreError) as error:
            raise StepFailed(f"{service} {api}: {error}") from error

    def _client(self, service: str, account: str, region: str) -> Any:
        key = (service, account, region)
        with self._making:
            if key not in self._clients:
                if len(self._clients) >= CLIENTS_KEPT_MAX:
                    self._clients.pop(next(iter(self._clients)))
                self._clients[key] = self._make(service, account, region)
            return self._clients[key]

    def _make(self, service: str, account: str, region: str) -> Any:
        # Imported late: a cloud without automations does not pay for it.
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import UnknownServiceError

        if self._session is None:
            # Nothing of the user's own AWS set-up may reach these clients.
            self._session = botocore.session.Session(
                session_vars={"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
            )
        settings = Config(
            connect_timeout=CONNECT_S_MAX,
            read_timeout=CALL_S_MAX,
            retries={"mode": "standard", "total_max_attempts": TRIES_MAX},
        )
        try:
            return self._session.create_client(
                service,
                region_name=region,
                endpoint_url=self._endpoint,
                # A key of twelve digits is an account of MiniStack's, and nobody's place in a network.
                aws_access_key_id=account,
                aws_secret_access_key="automation",
                config=settings,
            )
        except UnknownServiceError as error:
            raise StepInputInvalid(f"service {service!r} does not exist") from error


def _method(client: Any, service: str, api: str) -> tuple[str, Any]:
    """The client's method for `UpdateTable` or `update_table`, and the operation's model."""
    names = client.meta.method_to_api_mapping
    for method, operation in names.items():
        if api in (method, operation):
            return method, client.meta.service_model.operation_model(operation)
    raise StepInputInvalid(f"{service} has no operation {api!r}")
