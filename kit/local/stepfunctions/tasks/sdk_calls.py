"""Call any API of the local AWS for a state, by botocore's models and with the names of Step Functions.

The account and the Region are those of the execution, which the context of its task holds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError
from kit.local.api_clients import ApiClients
from kit.local.stepfunctions.tasks import sdk_shapes

# Calls that run at once; others wait. A Lambda function may run for fifteen minutes.
THREADS_MAX = 64
CALL_S_MAX = 910.0
NO_STATUS = 0


class CallFailed(KitError):
    """A call failed. `status` is 0 if no answer came."""

    def __init__(self, code: str, message: str, *, status: int = NO_STATUS, request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.request_id = request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer with members in PascalCase. `output` leaves out the metadata of the response, which is in `meta`."""

    output: dict[str, Any]
    meta: dict[str, Any]


class SdkCalls:
    """Call APIs in threads. `scope` returns the account and the Region of the running execution."""

    def __init__(self, clients: ApiClients, scope: Callable[[], tuple[str, str]]) -> None:
        self._clients = clients
        self._scope = scope
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="states-call")

    def close(self) -> None:
        """Accept no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def call(
        self, service: str, operation: str, parameters: Mapping[str, Any], *, is_sdk: bool = False
    ) -> Answer:
        """Return the answer. Raises CallFailed. Cancelling stops the waiting, not a call that has begun."""
        account, region = self._scope()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(
            self._pool, self._call, service, operation, dict(parameters), account, region, is_sdk
        )
        return await future

    def _call(
        self, service: str, operation: str, parameters: Mapping[str, Any], account: str, region: str, is_sdk: bool
    ) -> Answer:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients.client(service, account, region, read_s_max=CALL_S_MAX)
        model = client.meta.service_model.operation_model(operation)
        arguments = sdk_shapes.to_api(model.input_shape, parameters)
        try:
            raw = client._make_api_call(operation, arguments)
            output = {key: _read(item) for key, item in raw.items() if key != "ResponseMetadata"}
        except ClientError as error:
            raise _refused(error.response) from error
        except (BotoCoreError, TypeError, ValueError, AttributeError) as error:
            # The last ones are values of another type than the model's, which the serialiser does not expect.
            raise CallFailed("SdkClientException", str(error)) from error
        shown = sdk_shapes.to_states(model.output_shape, output, is_sdk=is_sdk) or {}
        return Answer(output=shown, meta=_metadata(raw.get("ResponseMetadata") or {}))


def _read(value: Any) -> Any:
    return value.read() if hasattr(value, "read") else value


def _refused(response: Mapping[str, Any]) -> CallFailed:
    error, meta = response.get("Error") or {}, response.get("ResponseMetadata") or {}
    return CallFailed(
        str(error.get("Code") or "Unknown"), str(error.get("Message") or ""),
        status=int(meta.get("HTTPStatusCode") or 0), request_id=str(meta.get("RequestId") or ""),
    )  # fmt: skip


def _metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the optimised integrations add to an answer."""
    headers = dict(meta.get("HTTPHeaders") or {})
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in headers.items()},
            "HttpHeaders": headers,
            "HttpStatusCode": meta.get("HTTPStatusCode"),
        },
        "SdkResponseMetadata": {"RequestId": meta.get("RequestId", "")},
    }
