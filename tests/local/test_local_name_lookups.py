"""In a VPC that is tagged so, the first call on a connection waits for the lookup of its endpoint's name, or fails."""

from __future__ import annotations

import asyncio
import time

import pytest
from botocore.exceptions import ClientError

from kit.local import gateway
from kit.local.name_lookups import LIMITS, SERVICES, TAG, Impairment, NameLookupsInvalid, impairment
from tests.local.test_local_gateway import WAIT_S, Rig, in_rig
from tests.polling import CLOCK_STEP_S

CALL = b"POST / HTTP/1.1\r\nHost: x\r\nSigned-By: TASKKEY/dynamodb\r\nContent-Length: 2\r\n\r\n{}"


def tagged(text: str) -> list[dict[str, str]]:
    return [{"Key": TAG, "Value": text}]


@pytest.mark.parametrize(
    "text",
    [
        "odd=1",
        "delay_ms",
        "delay_ms=soon",
        "fail=1.1",
        "fail=-1",
        "fail=nan",
        "fail=0 fail=0",
        "services=",
        "services=a b",
    ],
)
def test_a_value_that_is_not_understood_is_refused_by_name(text):
    with pytest.raises(NameLookupsInvalid, match=TAG):
        impairment(tagged(text))


def test_a_value_may_have_any_part_and_an_empty_one_asks_for_nothing():
    assert impairment(tagged("delay_ms=700 fail=0.4")) == Impairment(delay_ms=700, fail=0.4)
    assert impairment(tagged("fail=1")) == Impairment(fail=1.0)
    assert impairment(tagged("")) is impairment([{"Key": "Name", "Value": "fail=1"}]) is None
    assert impairment(tagged("services=sqs")) == Impairment(services=frozenset({"sqs"}))
    assert {*LIMITS, SERVICES} == set(Impairment.__dataclass_fields__)


async def calls(it: Rig, number: int) -> list[tuple[bytes, float]]:
    """Make calls one after the other on one connection; returns what came back and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    found = []
    try:
        for _ in range(number):
            started = time.monotonic()
            writer.write(CALL)
            async with asyncio.timeout(WAIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                found.append((head + await reader.readexactly(2), time.monotonic() - started))
    finally:
        writer.close()
    return found


@in_rig
async def test_only_the_first_call_on_a_connection_waits(it: Rig) -> None:
    it.tags[:] = tagged("delay_ms=300")
    (_, first_s), (_, second_s) = await calls(it, 2)
    assert first_s >= 0.3 - CLOCK_STEP_S > second_s
    it.tags[:] = tagged("")
    ((_, usual_s),) = await calls(it, 1)
    assert usual_s < 0.3


@in_rig
async def test_a_lookup_without_a_result_resets_the_connection_and_nothing_is_carried_out(it: Rig) -> None:
    it.tags[:] = tagged("fail=1")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await calls(it, 1)
    assert it.service.applied == []


@in_rig
async def test_callers_that_are_no_tasks_and_other_services_are_not_touched(it: Rig) -> None:
    it.tags[:] = tagged("fail=1")
    assert b"200" in await it.call(key="OPERATOR")
    it.tags[:] = tagged("fail=1 services=sqs,kinesis")
    assert b"200" in await it.call(service="dynamodb")
    with pytest.raises(ConnectionError):
        await it.call(service="sqs")


def test_a_connection_ends_with_the_first_answer_after_its_time(monkeypatch):
    monkeypatch.setattr(gateway, "CONNECTION_S_MAX", 0.0)

    async def ends(it: Rig) -> None:
        ((usual, _),) = await calls(it, 1)
        it.tags[:] = tagged("delay_ms=1")
        ((ended, _),) = await calls(it, 1)
        assert b"connection: close" not in usual.lower()
        assert b"connection: close" in ended.lower()

    in_rig(ends)()


def test_a_vpc_with_a_wrong_tag_is_refused(cloud):
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*gameday:name-lookups='slow'"):
        ec2.create_tags(Resources=[vpc], Tags=tagged("slow"))
    ec2.create_tags(Resources=[vpc], Tags=tagged("delay_ms=5 fail=0.1"))
    (found,) = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    assert found["Tags"] == tagged("delay_ms=5 fail=0.1")
    ec2.delete_vpc(VpcId=vpc)
