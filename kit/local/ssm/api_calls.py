"""Call AWS APIs for the steps of a runbook: botocore in threads, against the local endpoint.

A call that has begun is always waited for, even when its step is cancelled: it may still take effect, and the step that
reverts it must come after it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Collection, Mapping
from typing import Any

from kit.local.api_clients import ApiClients
from kit.local.ssm.errors import StepFailed, StepInputInvalid

THREADS_MAX = 8
# AWS ends an aws:executeAwsApi call after 25 s.
CALL_S_MAX = 25
# Attempts in all; botocore retries after throttling and connection errors.
ATTEMPTS_MAX = 3


class ApiCaller:
    """Call any API of the local AWS for an account."""

    def __init__(self, endpoint: str, secret: str) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="ssm-call")
        self._clients = ApiClients(endpoint, secret, attempts_max=ATTEMPTS_MAX)

    def close(self) -> None:
        """Accept no more calls. Running calls end by their own time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def create_clients(self, services: Collection[str], account: str, region: str) -> None:
        """Create the clients that a runbook needs, because creating one takes longer than a repair may take."""
        for service in services:
            await self._in_thread(self._client, service, account, region)

    async def call(self, service: str, api: str, arguments: Mapping[str, Any], account: str, region: str) -> Any:
        """Return the response. Raises StepInputInvalid for a call that can never work, StepFailed for a failure."""
        return await self._in_thread(self._call, service, api, arguments, account, region)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})
            future.exception()  # retrieved, so that asyncio does not warn; the step is cancelled anyway
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
        from botocore.exceptions import UnknownServiceError

        try:
            return self._clients.client(service, account, region, read_s_max=CALL_S_MAX)
        except UnknownServiceError as error:
            raise StepInputInvalid(f"service {service!r} does not exist") from error


def _method(client: Any, service: str, api: str) -> tuple[str, Any]:
    """Return the client's method for `UpdateTable` or `update_table`, and the operation's model."""
    names = client.meta.method_to_api_mapping
    for method, operation in names.items():
        if api in (method, operation):
            return method, client.meta.service_model.operation_model(operation)
    raise StepInputInvalid(f"{service} has no operation {api!r}")
