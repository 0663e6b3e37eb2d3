"""Write the items of a past into the tables of a stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from kit.aws.client_errors import ClientSource, cloud_errors, error_code
from kit.dynamodb_items import Item
from kit.errors import CloudError
from kit.model import Deployment
from kit.past.records import TABLES, Past

BATCH_MAX = 25  # the limit of BatchWriteItem
WRITERS = 4
# A new table on AWS takes 4,000 writes a second; with more than that it throttles until it has split.
TRIES_MAX = 12
WAIT_FIRST_S, WAIT_S_MAX = 0.05, 5.0
THROTTLED = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})


def write(
    session: ClientSource, deployment: Deployment, past: Past, *, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Write all items; returns how many. Raises CloudError, also for items that stay refused."""
    dynamodb, written = session.client("dynamodb"), 0
    with cloud_errors(f"past of {deployment.stack_name}"), ThreadPoolExecutor(WRITERS) as pool:
        for role, output in TABLES.items():
            items, table = past.items[role], deployment.outputs[output]
            batches = [items[start : start + BATCH_MAX] for start in range(0, len(items), BATCH_MAX)]
            writes = [pool.submit(_write_batch, dynamodb, table, batch, sleep) for batch in batches]
            try:
                for one in writes:
                    one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            written += len(items)
    return written


def _write_batch(dynamodb: Any, table: str, items: Sequence[Item], sleep: Callable[[float], None]) -> None:
    """Write one batch; what is throttled or returned as unprocessed is tried again, at most TRIES_MAX times."""
    left: Sequence[Mapping[str, Any]] = [{"PutRequest": {"Item": item}} for item in items]
    for number in range(TRIES_MAX):
        if number:
            sleep(min(WAIT_S_MAX, WAIT_FIRST_S * 2 ** (number - 1)))
        try:
            left = dynamodb.batch_write_item(RequestItems={table: left})["UnprocessedItems"].get(table, [])
        except ClientError as error:
            if error_code(error) not in THROTTLED:
                raise
        if not left:
            return
    raise CloudError(f"table {table}: {len(left)} items were refused {TRIES_MAX} times, throttled or unprocessed")
