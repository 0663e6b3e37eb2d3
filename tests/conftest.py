"""One local AWS with one PaperBroker on it, shared by the tests of the stages; started by the first that asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import aws, build, deploy, scenarios
from kit.model import Deployment

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "paperbroker"
TEMPLATE = SOURCE / "deploy" / "stack.yaml"
RUN_ID = "test-kit"
DEPLOY_S_MAX = 90


@pytest.fixture(scope="session")
def local_cloud() -> Iterator[aws.LocalCloud]:
    """A local AWS of these tests' own."""
    cloud = aws.start_local(seed=5)
    yield cloud
    cloud.close()


@pytest.fixture(scope="session")
def local_session(local_cloud: aws.LocalCloud) -> aws.Session:
    """A session with it."""
    return local_cloud.session()


@pytest.fixture(scope="session")
def image(local_session: aws.Session) -> build.Image:
    """The tree as it is, pushed."""
    return build.build_image(local_session, source=SOURCE, change=None, changes_dir=SOURCE / "changes")


@pytest.fixture(scope="session")
def deployment(local_session: aws.Session, image: build.Image) -> Deployment:
    """PaperBroker, up, with a fault that is short enough for tests."""
    return deploy.deploy(
        local_session,
        image_uri=image.uri,
        run_id=RUN_ID,
        template=TEMPLATE,
        parameters=scenarios.get("az-loss").stack_parameters(fault_duration_s=8),
        timeout_s=DEPLOY_S_MAX,
    )
