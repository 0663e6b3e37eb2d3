"""Stand before every service's handler: refuse what is not honoured, pass on what is."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kit.local.requests import answers, models, wire
from kit.local.requests.answers import Answer
from kit.local.requests.contract import Contract, Operation
from kit.local.requests.pages import Paginator
from kit.local.requests.problems import MALFORMED, UNKNOWN, UNSERVED, UNSERVED_CODE, Refused
from kit.local.requests.shapes import NOT_SERVED, Check, compile_check
from kit.local.requests.tokens import TokenReused, Tokens

Handler = Callable[..., Awaitable[Answer]]
Scope = Callable[[], tuple[str, ...]]

log = logging.getLogger(__name__)


class Gate:
    """Check requests by the contracts of the services. `scope` returns the account and the Region of a request."""

    def __init__(self, contracts: Mapping[str, tuple[Contract, ...]], scope: Scope = tuple) -> None:
        self._contracts = contracts
        self._scope = scope
        self._tokens = Tokens()
        self._checks: dict[tuple[str, str], Check | None] = {}

    def guard(self, route: str, handler: Handler | None) -> Handler:
        """Return a handler that refuses what is not honoured; `handler` answers the rest."""
        contracts = self._contracts.get(route)
        if contracts is None or handler is None:
            return functools.partial(_refuse_service, route)
        return functools.partial(self._answer, contracts, handler)

    async def _answer(
        self,
        contracts: tuple[Contract, ...],
        handler: Handler,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, list[str]],
    ) -> Answer:
        request = wire.Request(method=method, path=path, headers=headers, body=body or b"", query=query or {})
        contract = await _contract_of(contracts, request)
        model = models.model(contract.service)
        protocol = wire.protocol_of(model, request)
        name = ""
        try:
            name, parameters = wire.read(model, protocol, request)
            operation = self.check(contract, name, parameters)
            answer = await self._pass_on(contract, operation, parameters, handler, request)
            return answers.in_json_version(model, answer) if protocol == wire.JSON else answer
        except TokenReused as reused:
            return answers.refusal(model, protocol, str(contract.operations[name].token_error), str(reused), 400)
        except Refused as refused:
            message = await asyncio.to_thread(_message, contract.service, name, refused)
            log.info("request refused", extra={"service": contract.service, "operation": name, "reason": message})
            code, status = _code(contract, refused), 501 if refused.kind == UNSERVED and not refused.path else 400
            return answers.refusal(model, protocol, code, message, status)

    async def _pass_on(
        self,
        contract: Contract,
        operation: Operation,
        parameters: Mapping[str, Any],
        handler: Handler,
        request: wire.Request,
    ) -> Answer:
        async def ask(asked: wire.Request = request) -> Answer:
            return await handler(asked.method, asked.path, asked.headers, asked.body, asked.query)

        if operation.is_paged_here:
            pages = Paginator.of(contract.service, operation.name)
            start = pages.start(parameters)
            model = models.model(contract.service)
            return pages.cut(await ask(pages.asking_for_all(request, model, operation.name)), parameters, start)
        token = parameters.get(operation.token) if operation.token else None
        if token:
            key = (*self._scope(), contract.service, operation.name, token)
            return await self._tokens.answer(key, parameters, ask)
        return await ask()

    def check(self, contract: Contract, name: str, parameters: Mapping[str, Any]) -> Operation:
        """Return the operation's contract. Raises Refused."""
        operation = contract.operations.get(name)
        if operation is None:
            raise Refused(UNSERVED, NOT_SERVED)
        key = (contract.service, name)
        if key not in self._checks:
            shape = models.model(contract.service).operation_model(name).input_shape
            self._checks[key] = compile_check(shape, operation.request) if shape is not None else None
        check = self._checks[key]
        try:
            if check is not None:
                check(parameters)
        except RecursionError as error:
            raise Refused(MALFORMED, "the request is nested too deeply") from error
        return operation


async def _contract_of(contracts: tuple[Contract, ...], request: wire.Request) -> Contract:
    """Return the contract of the service that has the request's operation; the last one if none has it."""
    for contract in contracts:
        if not models.is_loaded(contract.service):
            await asyncio.to_thread(models.model, contract.service)
        if contract is contracts[-1] or wire.knows(models.model(contract.service), request):
            return contract
    raise ValueError("a route has at least one contract")


def _code(contract: Contract, refused: Refused) -> str:
    return UNSERVED_CODE if refused.kind == UNSERVED else contract.error(refused.kind)


def _message(service: str, operation: str, refused: Refused) -> str:
    if refused.kind not in (UNSERVED, UNKNOWN):
        return str(refused)
    where = f"{service}:{operation}" if operation else service
    if refused.kind == UNKNOWN or not operation:
        return f"{where}: {refused}"
    purpose = models.purpose(service, operation, tuple(refused.path))
    return f"{where}: {refused}; AWS would: {purpose}" if purpose else f"{where}: {refused}"


async def _refuse_service(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Answer:
    message = f"the local AWS does not serve {service!r} ({method} {path})"
    return answers.of_unknown_service(service, headers, UNSERVED_CODE, message)
