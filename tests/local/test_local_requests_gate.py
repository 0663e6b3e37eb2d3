"""The gate reads requests of every protocol, passes on what is honoured and refuses everything else by name."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

import pytest
from botocore.parsers import create_parser

from kit.local.requests import models, wire
from kit.local.requests.contract import EVERYTHING, Contract, by_route, contracts
from kit.local.requests.gate import Gate
from kit.local.requests.problems import INVALID, UNSERVED, Refused
from kit.local.requests.shapes import compile_check
from kit.local.requests.wire import Request
from tests.local.request_samples import request, sample

SEED = 7
# Reading the documentation for a message takes up to half a second a service, so only some refusals are written out.
OPERATIONS_TRIED = 4
# Two operations at one path, of which the other one is current.
DEPRECATED = {"GetBucketLifecycle", "GetBucketNotification", "PutBucketLifecycle", "PutBucketNotification"}
AT_ANOTHER_HOST = {"ListDirectoryBuckets"}
everyone = pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract.service)


class Service:
    """A handler that counts the requests that reach it."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, *_request: Any) -> tuple[int, dict[str, str], bytes]:
        self.calls += 1
        return 200, {"content-type": "application/x-amz-json-1.0"}, b"{}"


def ask(contract: Contract, asked: Request) -> tuple[Service, tuple[int, dict[str, str], bytes]]:
    """Send a request through the gate."""
    service, gate = Service(), Gate({"x": (contract,)})
    answer = gate.guard("x", service)(asked.method, asked.path, asked.headers, asked.body, asked.query)
    return service, asyncio.run(_awaited(answer))


async def _awaited(answer: Any) -> Any:
    return await answer


def error_of(contract: Contract, asked: Request, answer: tuple[int, dict[str, str], bytes]) -> dict[str, str]:
    """Read an error as botocore's client does."""
    model = models.model(contract.service)
    protocol = wire.protocol_of(model, asked)
    parser = create_parser(model.metadata["protocol"] if protocol == wire.QUERY else protocol)
    status, headers, body = answer
    parsed = parser.parse({"status_code": status, "headers": headers, "body": body}, None)
    return parsed["Error"]


@everyone
def test_a_request_of_botocore_is_read_as_it_was_meant(contract: Contract) -> None:
    model = models.model(contract.service)
    for name in model.operation_names:
        shape = model.operation_model(name).input_shape
        if shape is None or name in DEPRECATED | AT_ANOTHER_HOST:
            continue
        given = sample(shape, lambda _shape, _path: True)
        asked = request(model, name, given)
        found, parameters = wire.read(model, wire.protocol_of(model, asked), asked)
        assert found == name
        assert set(parameters) == set(given), name
        try:
            compile_check(shape, EVERYTHING)(parameters)
        except Refused as refused:
            # A made-up text does not match every pattern, but no member is unknown or of another type.
            assert refused.kind == INVALID, f"{name}: {refused}"


@everyone
def test_every_member_outside_the_data_is_refused_by_its_path(contract: Contract) -> None:
    model = models.model(contract.service)
    for operation in contract.operations.values():
        shape = model.operation_model(operation.name).input_shape
        members = shape.members if shape is not None else {}
        for name in members:
            if operation.request.of(name) is None:
                value = sample(members[name], lambda _shape, _path: True)
                with pytest.raises(Refused, match="is not served here") as caught:
                    compile_check(shape, operation.request)({name: value})
                assert caught.value.kind == UNSERVED
                assert caught.value.path == [name]


@everyone
def test_operations_outside_the_data_never_reach_the_service(contract: Contract) -> None:
    model = models.model(contract.service)
    outside = sorted(set(model.operation_names) - set(contract.operations) - DEPRECATED - AT_ANOTHER_HOST)
    if not outside:
        return
    for name in random.Random(SEED).sample(outside, min(OPERATIONS_TRIED, len(outside))):
        shape = model.operation_model(name).input_shape
        given = sample(shape, lambda _shape, _path: False) if shape is not None else {}
        asked = request(model, name, given)
        service, answer = ask(contract, asked)
        error = error_of(contract, asked, answer)
        assert service.calls == 0
        assert answer[0] == 501
        assert error["Code"] == "UnsupportedOperation"
        assert f"{name}: is not served here; AWS would: " in error["Message"]


@everyone
def test_members_outside_the_data_never_reach_the_service(contract: Contract) -> None:
    model = models.model(contract.service)
    cases = [
        (operation.name, name)
        for operation in contract.operations.values()
        if (shape := model.operation_model(operation.name).input_shape) is not None
        for name in shape.members
        if operation.request.of(name) is None
    ]
    for operation, name in random.Random(SEED).sample(cases, min(OPERATIONS_TRIED, len(cases))):
        shape = model.operation_model(operation).input_shape
        given = {name: sample(shape.members[name], lambda _shape, _path: True)}
        given |= sample(shape, lambda _shape, _path: False)
        service, answer = ask(contract, request(model, operation, given))
        assert service.calls == 0
        assert answer[0] == 400


def contract_of(service: str) -> Contract:
    """Return the contract of a service."""
    return next(each for each in contracts() if each.service == service)


def json_request(target: str, body: bytes) -> Request:
    """Return a request of a JSON protocol."""
    return Request(method="POST", path="/", headers={"x-amz-target": target}, body=body, query={})


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"repositoryNames": ["xx"]}', None, ""),
        (b'{"maxResults": 0}', "InvalidParameterException", "at 'maxResults' failed to satisfy constraint"),
        (b'{"maxResults": "3"}', "InvalidParameterException", "must be a whole number"),
        (b'{"maxResults": true}', "InvalidParameterException", "must be a whole number"),
        (b'{"repositoryNames": ["upper!!"]}', None, ""),  # AWS searches for the pattern: "!" is not looked at
        (b'{"repositoryNames": ["!!"]}', "InvalidParameterException", "regular expression"),
        (b'{"repositoryNames": []}', "InvalidParameterException", "length greater than or equal to 1"),
        (b'{"invented": 1}', "InvalidParameterException", "invented: AWS has no such member"),
        (b'{"registryId": "000000000000"}', "UnsupportedOperation", "registryId is not served here; AWS would: "),
        (b'{"registryId": null}', None, ""),
        (b"[1]", "InvalidParameterException", "must be a JSON object"),
        (b"{", "InvalidParameterException", "not JSON"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "InvalidParameterException", ""),
    ],
)
def test_constraints_of_the_model_are_checked(body: bytes, code: str | None, message: str) -> None:
    ecr = contract_of("ecr")
    asked = json_request("AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", body)
    service, answer = ask(ecr, asked)
    if code is None:
        assert service.calls == 1
        return
    error = error_of(ecr, asked, answer)
    assert (service.calls, error["Code"]) == (0, code)
    assert message in error["Message"]


def test_a_value_that_is_the_default_is_accepted_and_any_other_refused() -> None:
    lambda_ = contract_of("lambda")
    model = models.model("lambda")
    given = {
        "FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {"S3Bucket": "bbb", "S3Key": "k"},
    }  # fmt: skip
    for mode, calls in (("PassThrough", 1), ("Active", 0)):
        service, answer = ask(lambda_, request(model, "CreateFunction", {**given, "TracingConfig": {"Mode": mode}}))
        assert service.calls == calls, answer
        if not calls:
            assert b"TracingConfig.Mode 'Active' is not served here, only 'PassThrough'" in answer[2]


def test_entries_of_a_map_are_refused_by_their_key() -> None:
    sqs = contract_of("sqs")
    asked = json_request("AmazonSQS.CreateQueue", b'{"QueueName": "q", "Attributes": {"KmsMasterKeyId": "k"}}')
    service, answer = ask(sqs, asked)
    assert service.calls == 0
    assert b"Attributes.KmsMasterKeyId is not served here" in answer[2]


@pytest.mark.parametrize(("arn", "calls"), [("arn:aws:sqs:r:0:q", 1), ("arn:aws:codebuild:r:0:project/p", 0)])
def test_texts_are_refused_unless_they_match_what_is_served(arn: str, calls: int) -> None:
    asked = request(models.model("events"), "PutTargets", {"Rule": "r", "Targets": [{"Id": "1", "Arn": arn}]})
    service, answer = ask(contract_of("events"), asked)
    assert service.calls == calls, answer
    assert calls or b"Targets.1.member.Arn" in answer[2]


def test_a_json_answer_has_the_version_of_the_services_protocol() -> None:
    for service, target, version in (
        ("ecr", "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories", b"1.1"),
        ("dynamodb", "DynamoDB_20120810.ListTables", b"1.0"),
    ):
        _, answer = ask(contract_of(service), json_request(target, b"{}"))
        assert answer[1]["Content-Type"] == f"application/x-amz-json-{version.decode()}"


def test_requests_by_cbor_are_refused_in_cbor() -> None:
    """MiniStack would read such a request as an empty one, and answer it."""
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    asked = Request(method="POST", path=path, headers=headers, body=b"\xa0", query={})
    cloudwatch = contract_of("cloudwatch")
    service, answer = ask(cloudwatch, asked)
    parser = create_parser("smithy-rpc-v2-cbor")
    parsed = parser.parse({"status_code": answer[0], "headers": answer[1], "body": answer[2]}, None)
    assert service.calls == 0
    assert "CBOR is not served here" in parsed["Error"]["Message"]


def test_services_without_data_are_refused() -> None:
    async def answer(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return await Gate(by_route()).guard("rds", Service())("POST", "/", headers, b"", {})

    status, _, body = asyncio.run(answer({}))
    assert (status, b"does not serve 'rds'" in body) == (501, True)
    status, _, body = asyncio.run(answer({"content-type": "application/x-www-form-urlencoded"}))
    assert re.search(rb"<Message>.*does not serve 'rds'", body)
    assert status == 501
