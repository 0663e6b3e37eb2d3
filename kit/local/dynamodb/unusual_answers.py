"""Give calls on tagged tables AWS's less usual answers: errors, lost answers, throttles, conflicts, partial batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kit.local.dynamodb import wire
from kit.local.dynamodb.items import Call, Request
from kit.local.dynamodb.tables import Table, Tables
from kit.local.dynamodb.wire import Answer, Reason
from kit.local.unusual_answers import Draws, Shares

Serve = Callable[[Call, Request], Answer]
READS = frozenset({"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"})
# The member of a batch request's answer that has what was not done.
UNPROCESSED = {"BatchWriteItem": "UnprocessedItems", "BatchGetItem": "UnprocessedKeys"}
TRANSACTIONS = frozenset({"TransactWriteItems", "TransactGetItems"})
LOST = "lost"


class UnusualAnswers:
    """Answer before or instead of the gates of an operation."""

    def __init__(self, tables: Tables, seed: int) -> None:
        self._tables = tables
        self._draws = Draws(seed, "dynamodb")

    def around(self, operation: str, serve: Serve) -> Serve:
        """Return `serve` with unusual answers."""

        def served(call: Call, request: Request) -> Answer:
            drawn, table = self.draw(operation, request)
            if table is None:
                return serve(call, request)
            if drawn and drawn != LOST:
                return self.refusal(drawn, operation, request, table)
            answer = self._partly(operation, serve, call, request, table.unusual)
            return self.lost(operation, table) if drawn == LOST else answer

        return served

    def draw(self, operation: str, request: Request) -> tuple[str, Table | None]:
        """Return the kind of this call's answer and the table whose tag asks for it; "" and None for a usual call."""
        table = next((one for one in self._named(request) if one.unusual), None)
        if table is None:
            return "", None
        possible = ("error", "throttle") if operation in READS else ("error", "throttle", "conflict", LOST)
        return self._draws.kind(table.unusual, possible), table

    def refusal(self, drawn: str, operation: str, request: Request, table: Table) -> Answer:
        """Return the answer of a call that is not carried out."""
        if drawn == "error":
            return self.lost(operation, table)
        if drawn == "throttle":
            table.meter.requests[operation] += 1
        else:
            table.meter.conflicts += 1
        if operation in TRANSACTIONS:
            reasons: list[Reason] = [wire.NO_REASON for _ in request["TransactItems"]]
            reasons[self._draws.index(len(reasons))] = (
                wire.conflict_reason() if drawn == "conflict" else wire.throttled_reason()
            )
            return wire.cancelled(reasons)
        return wire.conflict() if drawn == "conflict" else wire.throttled()

    def lost(self, operation: str, table: Table) -> Answer:
        """Return the error of a call of which the client cannot know whether it was carried out."""
        table.meter.errors[operation] += 1
        return wire.internal_error()

    def _partly(self, operation: str, serve: Serve, call: Call, request: Request, wanted: Shares) -> Answer:
        """Carry out a call but for the items of a batch that are returned as unprocessed."""
        member = UNPROCESSED.get(operation)
        if member is None or not isinstance(request.get("RequestItems"), dict):
            return serve(call, request)
        kept, refused = {}, {}
        for name, items in request["RequestItems"].items():
            entries = items["Keys"] if member == "UnprocessedKeys" else items
            flags = [self._draws.is_refused(wanted) for _ in entries]
            for chosen, is_chosen in ((kept, False), (refused, True)):
                part = [entry for entry, flag in zip(entries, flags, strict=True) if flag is is_chosen]
                if part:
                    chosen[name] = {**items, "Keys": part} if member == "UnprocessedKeys" else part
        if not refused or not kept:  # DynamoDB answers an error when nothing of a batch was done.
            return serve(call, request)
        return _merged(serve(call, {**request, "RequestItems": kept}), member, refused)

    def _named(self, request: Request) -> Iterator[Table]:
        names: list[Any] = [request.get("TableName")]
        items = request.get("RequestItems")
        names += list(items) if isinstance(items, Mapping) else []
        actions = request.get("TransactItems")
        for action in actions if isinstance(actions, list) else []:
            names += [part.get("TableName") for part in action.values() if isinstance(part, Mapping)]
        for name in dict.fromkeys(name for name in names if isinstance(name, str)):
            table = self._tables.find(name)
            if table is not None:
                yield table


def _merged(answer: Answer, member: str, refused: Mapping[str, Any]) -> Answer:
    status, headers, body = answer
    if status != 200:
        return answer
    content = json.loads(body)
    already = content.get(member) or {}
    for name, part in refused.items():
        before = already.get(name)
        if before is None:
            already[name] = part
        elif isinstance(before, list):
            already[name] = [*before, *part]
        else:
            already[name] = {**before, "Keys": [*before["Keys"], *part["Keys"]]}
    return status, headers, json.dumps({**content, member: already}, ensure_ascii=False).encode()
