"""Test the lifecycle of one task, without a cloud."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kit.local.ecs.lifecycle import Lifecycle
from kit.local.ecs.placement import Subnet
from kit.local.ecs.tasks import Status, StopCode, Task
from kit.local.ecs.timing import Timing
from kit.local.ecs.wire import containers
from kit.local.links import LinkRule, Links, Match
from tests.polling import wait_until_async

SUBNET = Subnet(id="subnet-a", zone="a", vpc="v", cidr="10.0.0.0/24")
FAST = Timing(provision_s=(0.0, 0.01), pull_s=(0.0, 0.01))
CUT = LinkRule(name="cut", src=Match(subnets=["subnet-a"]), dst=Match(not_subnets=["subnet-a"]), blackhole=True)


def task(*command: str) -> Task:
    definition = {
        "taskDefinitionArn": "arn", "family": "f", "revision": 1,
        "containerDefinitions": [{"name": "main", "image": "i", "command": list(command)}],
    }  # fmt: skip
    return Task(
        id="0" * 32, account="0", region="r", cluster="c", definition=definition, subnet=SUBNET, ip="10.0.0.4",
        mac="", access_key="k", secret_key="s", containers=containers(definition, None), tags={},
    )  # fmt: skip


def lifecycle(root: Path, links: Links) -> Lifecycle:
    images: Any = SimpleNamespace(unpack=lambda _: root)
    no_load_balancers: Any = None
    return Lifecycle(
        links=links, images=images, load_balancers=no_load_balancers, endpoint_url="http://127.0.0.1:1",
        timing=FAST, rng=random.Random(1), changed=lambda _: None,
    )  # fmt: skip


async def reach(task: Task, status: Status) -> None:
    await wait_until_async(lambda: task.status is status, status.value)


def test_a_task_in_a_cut_zone_cannot_pull_until_the_zone_is_back(tmp_path: Path) -> None:
    """It stays PENDING while the link is cut, and starts when the rule is removed."""

    async def scenario() -> None:
        links, one = Links(1), task("python", "-c", "import time; time.sleep(60)")
        rule = links.add(CUT)
        running = asyncio.create_task(lifecycle(tmp_path, links).run(one))
        await reach(one, Status.PENDING)
        await asyncio.sleep(0.3)
        assert one.status is Status.PENDING
        links.remove(rule)
        await reach(one, Status.RUNNING)
        assert len(one.pids()) == 1
        one.request_stop(StopCode.USER, "enough")
        await running
        assert one.pids() == []

    asyncio.run(scenario())


def test_a_task_that_hangs_in_its_pull_can_be_stopped(tmp_path: Path) -> None:
    """StopTask does not wait for the image."""

    async def scenario() -> None:
        links, one = Links(1), task("python", "-c", "pass")
        links.add(CUT)
        running = asyncio.create_task(lifecycle(tmp_path, links).run(one))
        await reach(one, Status.PENDING)
        one.request_stop(StopCode.USER, "enough")
        async with asyncio.timeout(10):
            await running
        assert (one.status, one.stopped_reason, one.containers[0].exit_code) == (Status.STOPPED, "enough", None)

    asyncio.run(scenario())


def test_a_command_that_does_not_exist_fails_the_start(tmp_path: Path) -> None:
    """CannotStartContainerError names the program."""

    async def scenario() -> None:
        one = task("no-such-program")
        await lifecycle(tmp_path, Links(1)).run(one)
        assert one.stop_code == "TaskFailedToStart"
        assert one.stopped_reason.startswith("CannotStartContainerError") and "no-such-program" in one.stopped_reason

    asyncio.run(scenario())


def test_signal_reaches_every_process_of_the_task(tmp_path: Path) -> None:
    """A child process counts, and ends with the rest."""

    async def scenario() -> None:
        one = task("/bin/sh", "-c", "sleep 60 & sleep 60")
        running = asyncio.create_task(lifecycle(tmp_path, Links(1)).run(one))
        await reach(one, Status.RUNNING)
        await wait_until_async(lambda: len(one.pids()) == 3, "three processes")
        assert one.signal(signal.SIGKILL) == 3
        await running
        assert (one.stop_code, one.containers[0].exit_code) == ("EssentialContainerExited", 137)

    asyncio.run(scenario())
