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


def task(*command: str, **settings: Any) -> Task:
    return task_of({"name": "main", "image": "i", "command": list(command), **settings})


def task_of(*definitions: dict[str, Any]) -> Task:
    definition = {
        "taskDefinitionArn": "arn", "family": "f", "revision": 1, "containerDefinitions": list(definitions),
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


def shell(name: str, script: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "command": ["/bin/sh", "-c", script], **settings}


def after(name: str, condition: str) -> dict[str, Any]:
    return {"dependsOn": [{"containerName": name, "condition": condition}]}


def run(one: Task, root: Path) -> None:
    """Run a task to its end, at most for 10 s."""

    async def scenario() -> None:
        async with asyncio.timeout(10):
            await lifecycle(root, Links(1)).run(one)

    asyncio.run(scenario())


def test_a_command_runs_in_its_working_directory(tmp_path: Path) -> None:
    """The folder is one of the image, and is created if the image does not have it."""
    run(task("/bin/sh", "-c", "echo here > said", workingDirectory="/srv/data"), tmp_path)
    assert (tmp_path / "srv" / "data" / "said").read_text() == "here\n"


def test_a_working_directory_outside_of_the_image_fails_the_start(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    one = task("true", workingDirectory="/../outside")
    run(one, root)
    assert "outside of the image" in one.stopped_reason
    assert not (tmp_path / "outside").exists()


def test_a_container_starts_when_the_one_before_has_succeeded(tmp_path: Path) -> None:
    first = shell("first", "sleep 0.3; echo done > first", essential=False)
    run(task_of(shell("main", "cat first > second", **after("first", "SUCCESS")), first), tmp_path)
    assert (tmp_path / "second").read_text() == "done\n"


def test_a_container_starts_when_the_one_before_is_healthy(tmp_path: Path) -> None:
    check = {"command": ["CMD-SHELL", "test -e up"], "interval": 5, "timeout": 2, "retries": 3}
    server = shell("server", "sleep 0.3; touch up; exec sleep 60", healthCheck=check)
    one = task_of(shell("main", "test -e up && touch found", **after("server", "HEALTHY")), server)
    run(one, tmp_path)
    assert (tmp_path / "found").exists()
    assert one.stop_code == "EssentialContainerExited"


def test_a_task_fails_when_a_dependency_fails(tmp_path: Path) -> None:
    first = shell("first", "exit 3", essential=False)
    one = task_of(shell("main", "touch started", **after("first", "SUCCESS")), first)
    run(one, tmp_path)
    assert (one.stop_code, one.containers[0].exit_code) == ("TaskFailedToStart", None)
    assert "first ended with exit code 3" in one.stopped_reason
    assert not (tmp_path / "started").exists()


def test_a_task_fails_when_a_dependency_takes_too_long(tmp_path: Path) -> None:
    first = shell("first", "exec sleep 60", essential=False, startTimeout=0.2)
    one = task_of(shell("main", "touch started", **after("first", "COMPLETE")), first)
    run(one, tmp_path)
    assert "did not reach COMPLETE" in one.stopped_reason
    assert one.pids() == []


def test_a_waiting_task_can_be_stopped(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = shell("first", "exec sleep 60", essential=False)
        one = task_of(shell("main", "touch started", **after("first", "COMPLETE")), first)
        running = asyncio.create_task(lifecycle(tmp_path, Links(1)).run(one))
        await wait_until_async(lambda: one.containers[1].status == "RUNNING", "the first one runs")
        one.request_stop(StopCode.USER, "enough")
        async with asyncio.timeout(10):
            await running
        assert (one.stopped_reason, one.pids()) == ("enough", [])
        assert not (tmp_path / "started").exists()

    asyncio.run(scenario())


def test_containers_stop_before_those_that_they_depend_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        tell = "trap 'echo {0} >> order; exit 0' TERM; touch {0}; while :; do sleep 0.05; done"
        one = task_of(
            shell("database", tell.format("database")),
            shell("main", tell.format("main"), **after("database", "START")),
        )
        running = asyncio.create_task(lifecycle(tmp_path, Links(1)).run(one))
        await wait_until_async(lambda: (tmp_path / "main").exists() and (tmp_path / "database").exists(), "both run")
        one.request_stop(StopCode.USER, "enough")
        await running
        assert (tmp_path / "order").read_text().split() == ["main", "database"]

    asyncio.run(scenario())
