"""Serialise DynamoDB's errors: throttling, transaction conflicts, and the error that tells nothing.

Sources: botocore's model (TransactionCanceledException lists codes and messages) and the developer guide on diagnosing
throttling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
Reason = dict[str, Any]

_TABLE_EXCEEDED = (
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API."
)
_INDEX_EXCEEDED = (
    "The level of configured provisioned throughput for one or more global secondary indexes of the table was "
    "exceeded. Consider increasing your provisioning level for the under-provisioned global secondary indexes with "
    "the UpdateTable API"
)
_MAXIMUM_EXCEEDED = "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
_CONFLICT = "Transaction is ongoing for the item"
_IN_PROGRESS = "The transaction with the given request token is already in progress."
_SCALING = (
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or "
    "index so please try again shortly."
)
NO_REASON: Reason = {"Code": "None"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A read or write limit of a table or an index that a request exceeded."""

    table_arn: str
    index: str | None
    verb: str
    is_provisioned: bool

    @property
    def limit(self) -> str:
        """The last part of the throttling reason."""
        return "ProvisionedThroughputExceeded" if self.is_provisioned else "MaxOnDemandThroughputExceeded"

    @property
    def message(self) -> str:
        """The error's message."""
        if not self.is_provisioned:
            return _MAXIMUM_EXCEEDED
        return _TABLE_EXCEEDED if self.index is None else _INDEX_EXCEEDED

    def answer(self) -> Answer:
        """Return the error of a refused request."""
        where = self.table_arn if self.index is None else f"{self.table_arn}/index/{self.index}"
        kind = "Table" if self.index is None else "Index"
        reasons = [{"reason": f"{kind}{self.verb}{self.limit}", "resource": where}]
        # The two errors spell the same member differently.
        if self.is_provisioned:
            return error("ProvisionedThroughputExceededException", self.message, ThrottlingReasons=reasons)
        return error("ThrottlingException", self.message, throttlingReasons=reasons)

    def reason(self) -> Reason:
        """Return the reason for a cancelled transaction."""
        code = "ProvisionedThroughputExceeded" if self.is_provisioned else "ThrottlingError"
        return {"Code": code, "Message": self.message}


def conflict() -> Answer:
    """Return the error of a write that conflicts with a transaction."""
    return error("TransactionConflictException", _CONFLICT)


def conflict_reason() -> Reason:
    """Return the reason of an item that conflicts with another transaction."""
    return {"Code": "TransactionConflict", "Message": _CONFLICT}


def in_progress() -> Answer:
    """Return the error of a token whose transaction still runs."""
    return error("TransactionInProgressException", _IN_PROGRESS)


def cancelled(reasons: Sequence[Reason]) -> Answer:
    """Return the error of a cancelled transaction, with one reason for each item."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return error("TransactionCanceledException", message, CancellationReasons=list(reasons))


def throttled() -> Answer:
    """Return the error of a table that DynamoDB is still scaling up."""
    return error("ThrottlingException", _SCALING)


def throttled_reason() -> Reason:
    """Return the reason of an item of a table that DynamoDB is still scaling up."""
    return {"Code": "ThrottlingError", "Message": _SCALING}


def internal_error() -> Answer:
    """Return the error after which a client cannot know whether its call was carried out."""
    return error("InternalServerError", "The request processing has failed because of an unknown error", status=500)


def error(code: str, message: str, *, status: int = 400, **more: Any) -> Answer:
    """Return an error. Its type has no namespace, because Step Functions names errors by it."""
    body = json.dumps({"__type": code, "message": message, **more}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}, body


def code_of(answer: Answer) -> str:
    """Return the error's code, empty for a success."""
    return answer[1].get("x-amzn-errortype", "error") if answer[0] >= 400 else ""
