"""Test the AWS/ApplicationELB data that the load balancer collects from its counters."""

import asyncio
import re
import time
from datetime import UTC, datetime
from urllib.parse import urlencode

import uvloop
from ministack.services import cloudwatch

from kit.local.alb.metrics import Counters, Datum, collect
from tests.local.alb_rig import Request, call, reply, rig

# Longer than any test, so that only the test itself publishes.
DAY_S = 86_400.0


def value(data: list[Datum], name: str, **dims: str) -> float | None:
    found = [d for d in data if d.name == name and dict(d.dims) == dims]
    assert len(found) <= 1, found
    return sum(v * c for v, c in zip(found[0].values, found[0].counts, strict=True)) if found else None


def test_zeros_that_aws_does_not_report_are_left_out() -> None:
    """On AWS, RequestCount 0 and error counts of 0 are missing data."""
    assert collect("app/web/1", Counters(), [], connections=0) == []


def test_a_period_counts_requests_codes_times_and_hosts_by_every_dimension() -> None:
    async def scenario() -> None:
        async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.02)
            writer.write(reply(int(request.path.strip("/") or 200)))

        async with rig(period_s=DAY_S) as made:
            a, b = await made.add_target("1", answer, zone="a"), await made.add_target("2", answer, zone="b")
            for target in (a, b):
                await made.until_health(target, "healthy")
            client = await made.connect()
            for path in ("/200", "/200", "/404", "/500"):
                await client.ask(path)
            b.stop()
            assert sorted([(await client.ask())[0], (await client.ask())[0]]) == [200, 502]
            balancer = made.service._balancers[made.arn]
            data = balancer.take_period([made.service._groups[made.group_arn]])
            lb = made.arn.partition(":loadbalancer/")[2]
            group = "targetgroup/" + made.group_arn.partition(":targetgroup/")[2]
            assert value(data, "RequestCount", LoadBalancer=lb) == 6
            assert value(data, "RequestCount", LoadBalancer=lb, TargetGroup=group) == 6
            assert value(data, "HTTPCode_Target_2XX_Count", LoadBalancer=lb, TargetGroup=group) == 3
            assert value(data, "HTTPCode_Target_4XX_Count", LoadBalancer=lb) == 1
            assert value(data, "HTTPCode_Target_5XX_Count", LoadBalancer=lb) == 1
            assert value(data, "HTTPCode_ELB_5XX_Count", LoadBalancer=lb) == 1
            assert value(data, "HTTPCode_ELB_502_Count", LoadBalancer=lb) == 1
            assert value(data, "HTTPCode_ELB_4XX_Count", LoadBalancer=lb) is None
            in_b = {"LoadBalancer": lb, "TargetGroup": group, "AvailabilityZone": "us-east-1b"}
            assert value(data, "HTTPCode_Target_2XX_Count", **in_b) is not None
            assert value(data, "HealthyHostCount", LoadBalancer=lb, TargetGroup=group) == 2
            times = next(d for d in data if d.name == "TargetResponseTime" and len(d.dims) == 1)
            assert sum(times.counts) == 5
            assert 0.019 < min(times.values) <= max(times.values) < 2, "seconds, one value per bucket of the histogram"
            assert (value(data, "ActiveConnectionCount", LoadBalancer=lb) or 0) >= 2
            assert value(balancer.take_period([]), "RequestCount", LoadBalancer=lb) is None

    uvloop.run(scenario())


def test_published_data_are_read_back_by_get_metric_data() -> None:
    async def scenario() -> None:
        async with rig(period_s=DAY_S) as made:
            await made.add_target("1")
            await made.get()
            began_at = time.time() // 10 * 10 - 60
            made.service._publish(began_at)
            metric = "MetricDataQueries.member.1.MetricStat"
            query = {
                "Action": "GetMetricData",
                "StartTime": datetime.fromtimestamp(began_at - 60, UTC).isoformat(),
                "EndTime": datetime.fromtimestamp(began_at + 60, UTC).isoformat(),
                "MetricDataQueries.member.1.Id": "m",
                f"{metric}.Stat": "Sum",
                f"{metric}.Period": "10",
                f"{metric}.Metric.Namespace": "AWS/ApplicationELB",
                f"{metric}.Metric.MetricName": "RequestCount",
                f"{metric}.Metric.Dimensions.member.1.Name": "LoadBalancer",
                f"{metric}.Metric.Dimensions.member.1.Value": made.arn.partition(":loadbalancer/")[2],
            }
            status, _, answer = await cloudwatch.handle_request("POST", "/", {}, urlencode(query).encode(), {})
            assert status == 200
            assert re.findall(r"<Values><member>([0-9.]+)</member></Values>", answer.decode()) == ["1.0"]
        cloudwatch._metrics.clear()

    uvloop.run(scenario())


def test_listeners_that_cannot_be_served_are_refused() -> None:
    async def scenario() -> None:
        async with rig() as made:
            try:
                await call("CreateListener", LoadBalancerArn=made.arn, Port=443, Protocol="HTTPS")
            except AssertionError as error:
                assert b"UnsupportedProtocol" in error.args[0]
            else:
                raise AssertionError("an HTTPS listener was accepted")

    uvloop.run(scenario())
