"""DynamoDB and SQS for PaperBroker's tests: MiniStack in its own process, with tables as in deploy/stack.yaml."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.aws import LocalCloud
from paperbroker.settings import Settings, Tables
from paperbroker.storage.clients import Clients
from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.ministack_server import ministack
from tests.paperbroker.paperbroker_rig import MARKETS, REGION, SHARED_ENDPOINT, Stage
from tests.paperbroker.tcp_proxy import TcpProxy

ROOT = Path(__file__).parents[2]
_numbers = itertools.count(1)
NewStage = Callable[[Any, Any, dict[str, str]], Stage]


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a new MiniStack, or of the one in SHARED_ENDPOINT, which an outer test run has started."""
    if given := os.environ.get(SHARED_ENDPOINT):
        yield given
        return
    with ministack(tmp_path_factory.mktemp("ministack")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def aws_env(aws: str) -> dict[str, str]:
    """A task's environment variables for AWS."""
    return {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


@pytest.fixture
def in_aws_env(aws_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients that a test makes use this AWS."""
    for name, value in aws_env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def flag_store(in_aws_env: None) -> FlagStore:
    """Feature flags of one test; none is deployed yet."""
    return FlagStore(Clients(REGION).make("appconfig"), f"t{os.getpid()}-{next(_numbers)}")


@pytest.fixture(scope="session")
def clients(aws_env: dict[str, str]) -> tuple[Any, Any]:
    """Clients of DynamoDB and SQS. The environment is changed only while they are made."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws_env.items():
            patch.setenv(name, value)
        factory = Clients(REGION)
        return factory.make("dynamodb"), factory.make("sqs", read_timeout_s=4)


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as {"!Ref": …}."""


Loader.add_multi_constructor(
    "!",
    lambda loader, suffix, node: {
        f"!{suffix}": loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
    },
)


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """The stack's template."""
    return yaml.load((ROOT / "paperbroker/deploy/stack.yaml").read_text(), Loader)


@pytest.fixture
def stage(clients: tuple[Any, Any], new_stage: NewStage, aws_env: dict[str, str]) -> Stage:
    """Empty tables and an empty queue with the schemas of the stack's template."""
    return new_stage(*clients, aws_env)


@pytest.fixture
def new_stage(template: dict[str, Any]) -> NewStage:
    """A function that makes a stage in any AWS: `new_stage(dynamodb, sqs, env)`."""
    return partial(_make_stage, template["Resources"])


@pytest.fixture
def local_stage(local_cloud: LocalCloud, new_stage: NewStage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage in the kit's local AWS, which has write capacities and feature flags."""
    env = local_cloud.environment()
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    factory = Clients(REGION)
    return new_stage(factory.make("dynamodb"), factory.make("sqs", read_timeout_s=4), env)


def _make_stage(resources: dict[str, Any], dynamodb: Any, sqs: Any, aws_env: dict[str, str]) -> Stage:
    prefix = f"t{os.getpid()}-{next(_numbers)}"
    env = dict(aws_env)
    names: dict[str, str] = {}
    for logical in ("Orders", "Outbox", "Ledger", "Markets", "Positions", "Applied"):
        names[logical.lower()] = _create_table(dynamodb, resources[f"{logical}Table"]["Properties"], prefix, logical)
    settings = Settings(
        env="test",
        run_id=prefix,
        region=REGION,
        markets=MARKETS,
        tables=Tables(**names),
        queue_url=_create_queue(sqs, resources["Queue"]["Properties"], prefix),
        metrics_namespace="PaperBroker",
        host="127.0.0.1",
        port=0,
        metadata_uri="",
        log_level="INFO",
    )
    env |= {f"PB_{name.upper()}_TABLE": table for name, table in names.items()}
    env |= {"PB_MARKETS": ",".join(MARKETS), "PB_QUEUE_URL": settings.queue_url, "PB_RUN_ID": prefix, "PB_ENV": "test"}
    return Stage(settings=settings, dynamodb=dynamodb, sqs=sqs, env=env)


def _create_table(dynamodb: Any, properties: dict[str, Any], prefix: str, logical: str) -> str:
    shape = {k: properties[k] for k in ("AttributeDefinitions", "KeySchema")}
    if "GlobalSecondaryIndexes" in properties:
        shape["GlobalSecondaryIndexes"] = properties["GlobalSecondaryIndexes"]
    name = f"{prefix}-{logical.lower()}"
    dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **shape)
    return name


def _create_queue(sqs: Any, properties: dict[str, Any], prefix: str) -> str:
    kept = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
    attributes = {name: str(properties[name]) for name in kept if name in properties}
    attributes["ContentBasedDeduplication"] = str(properties["ContentBasedDeduplication"]).lower()
    url: str = sqs.create_queue(QueueName=f"{prefix}.fifo", Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]
    return url


@pytest.fixture
def aws_proxy(aws: str) -> Iterator[TcpProxy]:
    """A proxy in front of AWS whose traffic a test can lose."""
    proxy = TcpProxy(int(aws.rpartition(":")[2]))
    yield proxy
    proxy.close()
