"""Call the API of a schedule's target: botocore in threads, against the local endpoint."""

from __future__ import annotations

import asyncio
import concurrent.futures

from kit.local.api_clients import ApiClients
from kit.local.eventbridge.schedule_delivery import CallFailed
from kit.local.eventbridge.schedule_targets import Call

THREADS_MAX = 8
CALL_S_MAX = 30.0
TOO_MANY_REQUESTS = 429


class ScheduleCalls:
    """Call any API of the local AWS once for each attempt."""

    def __init__(self, endpoint: str, secret: str) -> None:
        self._clients = ApiClients(endpoint, secret, attempts_max=1)
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="schedule-call")

    def close(self) -> None:
        """Accept no more calls. Running calls end by their own time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def call(self, wanted: Call, account: str, region: str) -> None:
        """Make a call. Raises CallFailed."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._call, wanted, account, region)

    def _call(self, wanted: Call, account: str, region: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        client = self._clients.client(wanted.service, account, region, read_s_max=CALL_S_MAX)
        try:
            answer = client._make_api_call(wanted.operation, dict(wanted.parameters))
        except ParamValidationError as error:
            raise CallFailed("ValidationException", str(error), may_retry=False) from error
        except ClientError as error:
            status = int(error.response["ResponseMetadata"].get("HTTPStatusCode") or 0)
            raise CallFailed(
                error.response["Error"]["Code"], error.response["Error"]["Message"],
                may_retry=status >= 500 or status == TOO_MANY_REQUESTS,
            ) from error  # fmt: skip
        except BotoCoreError as error:
            raise CallFailed(type(error).__name__, str(error), may_retry=True) from error
        if answer.get("FailedEntryCount"):
            raise CallFailed("InternalException", str(answer.get("Entries")), may_retry=True)
