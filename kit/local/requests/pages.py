"""Cut the lists of a service that answers them whole, and tell by a token where the next page begins.

Only for the JSON protocols, and for operations that the data marks with `pages: here`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kit.local.requests import models
from kit.local.requests.answers import Answer
from kit.local.requests.problems import INVALID, Refused
from kit.local.requests.wire import Request

# The service is asked for all items at once.
ITEMS_MAX = 1000
# AWS's own default differs a little from service to service.
PAGE_DEFAULT = 50
_TOKEN = re.compile(r"page-(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paginator:
    """The members of an operation that select a page."""

    token_in: str
    token_out: str
    limit: str
    items: str

    @classmethod
    def of(cls, service: str, operation: str) -> Paginator:
        """Return botocore's paginator of an operation."""
        given = models.paginators(service)[operation]
        return cls(
            token_in=given["input_token"], token_out=given["output_token"], limit=given["limit_key"],
            items=given["result_key"],
        )  # fmt: skip

    def start(self, parameters: Mapping[str, Any]) -> int:
        """Return the index of the page's first item. Raises Refused for a token that was never given."""
        token = parameters.get(self.token_in)
        if token is None:
            return 0
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Refused(INVALID, f"{self.token_in} {token!r} is not a token of an answer")
        return int(match[1])

    def asking_for_all(self, request: Request, model: Any, operation: str) -> Request:
        """Return the request for the whole list."""
        members = model.operation_model(operation).input_shape.members
        if members[self.limit].serialization.get("location") == "querystring":
            names = {members[each].serialization["name"] for each in (self.token_in, self.limit)}
            query = {name: value for name, value in request.query.items() if name not in names}
            return replace(request, query={**query, members[self.limit].serialization["name"]: [str(ITEMS_MAX)]})
        body = {**json.loads(request.body or b"{}"), self.limit: ITEMS_MAX}
        body.pop(self.token_in, None)
        return replace(request, body=json.dumps(body).encode())

    def cut(self, answer: Answer, parameters: Mapping[str, Any], start: int) -> Answer:
        """Return one page of the answer."""
        status, headers, body = answer
        if status >= 400:
            return answer
        content = json.loads(body)
        items = content.get(self.items) or []
        end = start + int(parameters.get(self.limit) or PAGE_DEFAULT)
        content[self.items] = items[start:end]
        if end < len(items):
            content[self.token_out] = f"page-{end}"
        return status, headers, json.dumps(content).encode()
