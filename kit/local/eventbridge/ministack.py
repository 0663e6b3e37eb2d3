"""Patch MiniStack's EventBridge and Scheduler, which take events, rules and schedules that AWS refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import eventbridge

from kit.local.eventbridge import stacks
from kit.local.patching import Patches

MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


def install(patches: Patches) -> None:
    """Refuse malformed entries of PutEvents, one by one, as AWS does; check rules and schedules."""
    patches.wrap(eventbridge, "_put_events", _put)
    stacks.install(patches)


def _put(put: Callable[..., Any], data: Mapping[str, Any], *more: Any, **named: Any) -> Any:
    entries = data.get("Entries") or []
    is_good = [_is_object(entry.get("Detail", "{}")) for entry in entries]
    if all(is_good):
        return put(data, *more, **named)
    good = [entry for entry, passes in zip(entries, is_good, strict=True) if passes]
    answered: list[Any] = []
    failed = 0
    if good:
        status, headers, body = put({**data, "Entries": good}, *more, **named)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        answered, failed = answer["Entries"], answer["FailedEntryCount"]
    accepted = iter(answered)
    shown = [next(accepted) if passes else MALFORMED for passes in is_good]
    return responses.json_response({"FailedEntryCount": failed + is_good.count(False), "Entries": shown})


def _is_object(detail: Any) -> bool:
    """Return whether a detail is a JSON object."""
    try:
        return isinstance(json.loads(detail), dict)
    except (TypeError, ValueError):
        return False
