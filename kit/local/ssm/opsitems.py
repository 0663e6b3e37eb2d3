"""Store OpsItems. The local AWS does not act on them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

from kit.local.ssm.documents import tags_of
from kit.local.ssm.errors import (
    InvalidFilterKey,
    InvalidRequest,
    OpsItemAlreadyExists,
    OpsItemLimitExceeded,
    OpsItemNotFound,
)

OPSITEMS_MAX = 10_000
# Members of a request that an item keeps unchanged.
KEPT = (
    "Title", "Description", "Source", "Priority", "Category", "Severity", "Status", "OpsItemType", "Notifications",
    "RelatedOpsItems", "ActualStartTime", "ActualEndTime", "PlannedStartTime", "PlannedEndTime",
)  # fmt: skip
SUMMARY = (
    "Title", "Source", "Priority", "Category", "Severity", "Status", "OpsItemType", "ActualStartTime",
    "ActualEndTime", "PlannedStartTime", "PlannedEndTime",
)  # fmt: skip
TEXT_FILTERS = frozenset({"Title", "Source", "Priority", "Category", "Severity", "Status", "OpsItemType", "OpsItemId"})
OPEN = "Open"
CLOSED = frozenset({"Resolved", "Closed"})
# Operational data that names the cause of an item, as {"dedupString": …} in its value.
DEDUP = "/aws/dedup"

Request = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class OpsItem:
    """One OpsItem; `members` have the API's names."""

    id: str
    arn: str
    created_by: str
    members: dict[str, Any]
    data: dict[str, Any]
    tags: dict[str, str]
    created_at: float = field(default_factory=time.time)
    changed_at: float = field(default_factory=time.time)
    version: int = 1

    def describe(self, names: tuple[str, ...] = KEPT) -> dict[str, Any]:
        """Return the item as the API does."""
        return {
            **{name: self.members.get(name) for name in names},
            "OpsItemId": self.id,
            "CreatedBy": self.created_by,
            "CreatedTime": self.created_at,
            "LastModifiedBy": self.created_by,
            "LastModifiedTime": self.changed_at,
            "OperationalData": self.data,
        }


class OpsItems:
    """The OpsItems of all accounts and Regions."""

    def __init__(self) -> None:
        self._items: AccountRegionScopedDict = AccountRegionScopedDict()

    def get(self, item_id: str) -> OpsItem:
        """Return the item. Raises OpsItemNotFound."""
        item = self._items.get(item_id)
        if item is None:
            raise OpsItemNotFound(f"OpsItem {item_id} does not exist")
        return item

    def create(self, request: Request) -> OpsItem:
        """Serve CreateOpsItem."""
        if len(self._items) >= OPSITEMS_MAX:
            raise OpsItemLimitExceeded(f"{len(self._items) + 1} OpsItems exceed the quota of {OPSITEMS_MAX}")
        self._refuse_duplicate(request)
        item_id = f"oi-{uuid.uuid4().hex[:12]}"
        kept = {name: request[name] for name in KEPT if name in request}
        item = OpsItem(
            id=item_id,
            arn=f"arn:aws:ssm:{get_region()}:{get_account_id()}:opsitem/{item_id}",
            created_by=f"arn:aws:iam::{get_account_id()}:root",
            members={"OpsItemType": "/aws/issue", "Status": OPEN, **kept},
            data=dict(request.get("OperationalData") or {}),
            tags=tags_of(request.get("Tags") or ()),
        )
        self._items[item_id] = item
        return item

    def _refuse_duplicate(self, request: Request) -> None:
        """Raise OpsItemAlreadyExists if an item that is not resolved has the same deduplication string."""
        wanted = _dedup_string(request.get("OperationalData") or {})
        for item in self._items.values() if wanted else ():
            if item.members["Status"] not in CLOSED and _dedup_string(item.data) == wanted:
                raise OpsItemAlreadyExists(f"OpsItem {item.id} already exists for dedupString {wanted!r}")

    def update(self, request: Request) -> None:
        """Serve UpdateOpsItem: only the given members change."""
        item = self.get(request["OpsItemId"])
        item.members.update({name: request[name] for name in KEPT if name in request})
        item.data.update(request.get("OperationalData") or {})
        for key in request.get("OperationalDataToDelete") or ():
            item.data.pop(key, None)
        item.version += 1
        item.changed_at = time.time()

    def select(self, filters: list[Request]) -> list[OpsItem]:
        """Return the items that match all filters, newest first. A filter matches if any of its values does."""
        for each in filters:
            if each["Key"] not in TEXT_FILTERS:
                raise InvalidFilterKey(f"filter {each['Key']} is not evaluated by the local AWS")
            if each["Operator"] not in ("Equal", "Contains"):
                raise InvalidRequest(f"filter {each['Key']}: {each['Operator']} is not Equal or Contains")
        found = [item for item in self._items.values() if all(_matches(item, each) for each in filters)]
        return sorted(found, key=lambda item: item.created_at, reverse=True)


def _dedup_string(data: Request) -> str:
    """Return the deduplication string of operational data; empty if there is none. Raises InvalidRequest."""
    if DEDUP not in data:
        return ""
    try:
        return str(json.loads(data[DEDUP].get("Value", ""))["dedupString"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(f'{DEDUP} must have the value {{"dedupString": "…"}}') from error


def _matches(item: OpsItem, wanted: Request) -> bool:
    value = item.id if wanted["Key"] == "OpsItemId" else str(item.members.get(wanted["Key"], ""))
    if wanted["Operator"] == "Equal":
        return value in wanted["Values"]
    return any(part in value for part in wanted["Values"])
