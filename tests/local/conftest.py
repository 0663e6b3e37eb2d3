"""Start a local AWS for these tests: the real server in its own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import pytest

from kit.aws import LocalCloud, start_local
from tests.local.fis_rig import FisRig


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCloud(LocalCloud):
    """A running local AWS with its log, and clients for it."""

    log: Path

    @classmethod
    def of(cls, started: LocalCloud, log: Path) -> Self:
        return cls(log=log, **{each.name: getattr(started, each.name) for each in fields(started)})

    def client(self, service: str, *, access_key: str = "", region: str = "", **config: Any) -> Any:
        """Create a boto3 client with the kit's settings; `config` is passed to botocore's Config."""
        import boto3
        from botocore.config import Config

        settings: dict[str, Any] = {
            "retries": {"total_max_attempts": 1}, "connect_timeout": 2, "read_timeout": 20, **config,
        }  # fmt: skip
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region or self.region,
            aws_access_key_id=access_key or self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            config=Config(**settings),
        )


@pytest.fixture(scope="session")
def start_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningCloud]]:
    """Start further servers, such as `start_cloud(seed=3)`. All end with the session."""
    with contextlib.ExitStack() as owned:

        def start(**arguments: Any) -> RunningCloud:
            state_dir = tmp_path_factory.mktemp("cloud")
            log = state_dir.with_suffix(".log")
            return RunningCloud.of(owned.enter_context(start_local(state_dir, log=log, **arguments)), log)

        yield start


@pytest.fixture(scope="session")
def cloud(start_cloud: Callable[..., RunningCloud]) -> RunningCloud:
    """The local AWS that these tests share. A test must use names of its own."""
    return start_cloud()


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients of the small cloud of the ECS tests, by service."""
    from tests.local.ecs_fixtures import clients, start

    process, state = start(tmp_path_factory.mktemp("ecs"))
    yield clients(state)
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="session")
def dynamodb(cloud: RunningCloud) -> Any:
    """DynamoDB of the shared cloud, for up to 64 threads."""
    return cloud.client("dynamodb", max_pool_connections=64)


@pytest.fixture(scope="session")
def rig(cloud: RunningCloud) -> FisRig:
    """FIS of the shared cloud."""
    return FisRig(cloud)


@pytest.fixture
def no_experiment_left(rig: FisRig) -> Iterator[None]:
    """Stop what a test started and did not end."""
    yield
    rig.stop_all()


@pytest.fixture(scope="session")
def pair(rig: FisRig) -> Iterator[Any]:
    """Two web tasks behind a load balancer in the shared cloud. A test that hits one must leave both healthy."""
    from tests.local.fis_pair import Pair

    made = Pair(rig)
    yield made
    made.close()
