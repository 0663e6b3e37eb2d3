"""A local AWS for these tests: the real server in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.aws import start_local


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCloud:
    """A running local AWS: its endpoint, its folder, and clients for it."""

    endpoint: str
    region: str
    account_id: str
    state_dir: Path
    pid: int
    log: Path

    def client(self, service: str, *, access_key: str = "gameday", **config: Any) -> Any:
        """Create a boto3 client with the kit's settings; `config` is passed to botocore's Config."""
        import boto3
        from botocore.config import Config

        settings: dict[str, Any] = {
            "retries": {"total_max_attempts": 1}, "connect_timeout": 2, "read_timeout": 20, **config,
        }  # fmt: skip
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key="gameday",
            config=Config(**settings),
        )


@pytest.fixture(scope="session")
def start_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningCloud]]:
    """Start further servers, such as `start_cloud(seed=3)`. All end with the session."""
    with contextlib.ExitStack() as owned:

        def start(**arguments: Any) -> RunningCloud:
            state_dir = tmp_path_factory.mktemp("cloud")
            log = state_dir.with_suffix(".log")
            started = owned.enter_context(start_local(state_dir, log=log, **arguments))
            return RunningCloud(
                endpoint=started.endpoint,
                region=started.region,
                account_id=started.account_id,
                state_dir=started.state_dir,
                pid=started.pid,
                log=log,
            )

        yield start


@pytest.fixture(scope="session")
def cloud(start_cloud: Callable[..., RunningCloud]) -> RunningCloud:
    """The local AWS that these tests share. A test must use names of its own."""
    return start_cloud()


@pytest.fixture(scope="session")
def pair(cloud: RunningCloud) -> Iterator[Any]:
    """Two web tasks behind a load balancer in the shared cloud; who hits them leaves them well."""
    from tests.local.fis_pair import Pair
    from tests.local.fis_rig import FisRig

    made = Pair(FisRig(cloud))
    yield made
    made.close()
