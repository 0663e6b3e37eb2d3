"""The gate keeps answers by idempotency token, and cuts lists into pages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kit.local.requests.contract import Contract, Member, Operation, contracts
from kit.local.requests.gate import Gate
from kit.local.requests.tokens import TOKENS_MAX, TokenReused, Tokens

TARGET = {"x-amz-target": "AmazonEC2ContainerServiceV20141113.RunTask"}
REPOSITORIES = {"x-amz-target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"}

Answer = tuple[int, dict[str, str], bytes]


def run_task(service: Any, *bodies: dict[str, Any], region: str = "us-east-1") -> list[Answer]:
    """Send RunTask requests through one gate, at the same time."""
    operation = Operation(name="RunTask", request=Member(), token="clientToken", token_error="ConflictException")
    contract = Contract(service="ecs", routes=("ecs",), operations={"RunTask": operation}, path=Path())
    handle = Gate({"ecs": (contract,)}, scope=lambda: ("0", region)).guard("ecs", service)

    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(*(handle("POST", "/", TARGET, json.dumps(body).encode(), {}) for body in bodies))

    return asyncio.run(all_at_once())


class Counting:
    """A service that answers with the number of the call, in a moment."""

    def __init__(self, status: int = 200) -> None:
        self.calls = 0
        self.status = status

    async def __call__(self, *_request: Any) -> Answer:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0)
        return self.status, {}, json.dumps({"call": number}).encode()


BODY = {"taskDefinition": "t", "clientToken": "once"}


def test_the_same_token_and_request_have_one_effect_and_one_answer() -> None:
    service = Counting()
    answers = run_task(service, BODY, {"clientToken": "once", "taskDefinition": "t"}, BODY)
    assert service.calls == 1
    assert [json.loads(body) for _, _, body in answers] == [{"call": 1}] * 3


def test_a_token_with_another_request_is_refused() -> None:
    service = Counting()
    _, (status, headers, body) = run_task(service, BODY, {**BODY, "count": 2})
    assert (service.calls, status, headers["x-amzn-errortype"]) == (1, 400, "ConflictException")
    assert b"'once' was used with other parameters" in body


def test_requests_without_a_token_are_independent() -> None:
    service = Counting()
    run_task(service, {"taskDefinition": "t"}, {"taskDefinition": "t"})
    assert service.calls == 2


def test_a_refused_request_leaves_no_token() -> None:
    service = Counting(status=400)
    tokens = Tokens()

    async def twice() -> None:
        for _ in range(2):
            await tokens.answer(("k",), {}, service)

    asyncio.run(twice())
    assert service.calls == 2


def test_a_crashed_request_leaves_no_token() -> None:
    tokens = Tokens()

    async def crash() -> Answer:
        raise RuntimeError("lost")

    async def crash_and_repeat() -> Answer:
        with pytest.raises(RuntimeError):
            await tokens.answer(("k",), {}, crash)
        return await tokens.answer(("k",), {}, Counting())

    assert asyncio.run(crash_and_repeat())[0] == 200


def test_the_oldest_token_is_forgotten_first() -> None:
    tokens, service = Tokens(), Counting()

    async def many() -> None:
        for number in range(TOKENS_MAX + 1):
            await tokens.answer((str(number),), {}, service)
        with pytest.raises(TokenReused):
            await tokens.answer(("1",), {"other": 1}, service)
        await tokens.answer(("0",), {"other": 1}, service)

    asyncio.run(many())
    assert service.calls == TOKENS_MAX + 2


class Repositories:
    """A service that knows `count` repositories and answers as MiniStack does: cut, without a token."""

    def __init__(self, count: int) -> None:
        self.names = [f"r{number}" for number in range(count)]

    async def __call__(self, _method: str, _path: str, _headers: Any, body: bytes, _query: Any) -> Answer:
        asked = json.loads(body)
        assert "nextToken" not in asked
        return 200, {}, json.dumps({"repositories": self.names[: asked.get("maxResults", 1000)]}).encode()


def pages(count: int, **asked: Any) -> list[dict[str, Any]]:
    """Follow the tokens to the last page."""
    ecr = next(each for each in contracts() if each.service == "ecr")
    handle = Gate({"ecr": (ecr,)}).guard("ecr", Repositories(count))
    found, token = [], None
    while True:
        body = json.dumps({**asked, **({"nextToken": token} if token else {})}).encode()
        status, _, answer = asyncio.run(_awaited(handle("POST", "/", REPOSITORIES, body, {})))
        assert status == 200, answer
        found.append(json.loads(answer))
        token = found[-1].get("nextToken")
        if token is None:
            return found


async def _awaited(answer: Any) -> Any:
    return await answer


@pytest.mark.parametrize(("count", "limit", "sizes"), [(5, 2, [2, 2, 1]), (4, 2, [2, 2]), (0, 2, [0]), (3, 100, [3])])
def test_a_list_is_cut_and_a_token_leads_to_the_rest(count: int, limit: int, sizes: list[int]) -> None:
    found = pages(count, maxResults=limit)
    assert [len(each["repositories"]) for each in found] == sizes
    assert [name for each in found for name in each["repositories"]] == [f"r{number}" for number in range(count)]


def test_a_list_without_a_limit_has_the_default_page_size() -> None:
    assert [len(each["repositories"]) for each in pages(120)] == [50, 50, 20]


def test_a_token_that_was_never_given_is_refused() -> None:
    ecr = next(each for each in contracts() if each.service == "ecr")
    handle = Gate({"ecr": (ecr,)}).guard("ecr", Repositories(3))
    answer = asyncio.run(_awaited(handle("POST", "/", REPOSITORIES, b'{"nextToken": "made-up"}', {})))
    assert answer[0] == 400
    assert b"'made-up' is not a token of an answer" in answer[2]
