"""AppConfig through boto3 and CloudFormation, as PaperBroker's feature flags and their fault use it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.ssm_rig import client
from tests.polling import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """An application with one environment, one hosted profile and an immediate deployment strategy."""

    client: Any
    data: Any
    application: str
    environment: str
    profile: str
    strategy: str

    def add(self, content: dict[str, Any], **more: Any) -> str:
        """Create a hosted version. Return its number as text."""
        made = self.client.create_hosted_configuration_version(
            ApplicationId=self.application, ConfigurationProfileId=self.profile, ContentType="application/json",
            Content=json.dumps(content).encode(), **more,
        )  # fmt: skip
        return str(made["VersionNumber"])

    def deploy(self, version: str, **more: Any) -> int:
        """Deploy a version. Return the deployment's number."""
        request = {
            "ApplicationId": self.application, "EnvironmentId": self.environment, "ConfigurationVersion": version,
            "ConfigurationProfileId": self.profile, "DeploymentStrategyId": self.strategy, **more,
        }  # fmt: skip
        return self.client.start_deployment(**request)["DeploymentNumber"]

    def deployment(self, number: int) -> dict[str, Any]:
        return self.client.get_deployment(
            ApplicationId=self.application, EnvironmentId=self.environment, DeploymentNumber=number
        )

    def session(self, **more: Any) -> Session:
        token = self.data.start_configuration_session(
            ApplicationIdentifier=self.application, EnvironmentIdentifier=self.environment,
            ConfigurationProfileIdentifier=self.profile, **more,
        )["InitialConfigurationToken"]  # fmt: skip
        return Session(self.data, token)

    def value(self) -> Any:
        """Return the configuration that a new session gets."""
        return self.session().poll()


class Session:
    """A client that polls as PaperBroker's api does."""

    def __init__(self, data: Any, token: str) -> None:
        self.data = data
        self.token = token
        self.interval_s = 0

    def poll(self) -> Any:
        """Return the configuration, or None if it has not changed."""
        answer = self.data.get_latest_configuration(ConfigurationToken=self.token)
        self.token, self.interval_s = answer["NextPollConfigurationToken"], answer["NextPollIntervalInSeconds"]
        content = answer["Configuration"].read()
        return json.loads(content) if content else None


@pytest.fixture
def flags(cloud: Any) -> Flags:
    return make_flags(cloud)


def make_flags(cloud: Any) -> Flags:
    """Create an application without any deployment."""
    appconfig, name = client(cloud, "appconfig"), f"flags-{uuid.uuid4().hex[:8]}"
    application = appconfig.create_application(Name=name)["Id"]
    environment = appconfig.create_environment(ApplicationId=application, Name="local")["Id"]
    profile = appconfig.create_configuration_profile(ApplicationId=application, Name="flags", LocationUri="hosted")[
        "Id"
    ]
    strategy = appconfig.create_deployment_strategy(
        Name=name, DeploymentDurationInMinutes=0, FinalBakeTimeInMinutes=0, GrowthFactor=100, ReplicateTo="NONE"
    )["Id"]
    return Flags(
        client=appconfig, data=client(cloud, "appconfigdata"), application=application,
        environment=environment, profile=profile, strategy=strategy,
    )  # fmt: skip


def test_an_immediate_deployment_is_in_force_at_once(flags: Flags) -> None:
    number = flags.deploy(flags.add({"storeDelayMs": 0}))
    shown = flags.deployment(number)
    assert (shown["State"], shown["PercentageComplete"], shown["ConfigurationVersion"]) == ("COMPLETE", 100.0, "1")
    assert flags.value() == {"storeDelayMs": 0}


def test_a_session_sees_each_change_once(flags: Flags) -> None:
    """Each token is valid for one call, and an unchanged configuration is empty."""
    normal, slow = flags.add({"storeDelayMs": 0}), flags.add({"storeDelayMs": 1500})
    flags.deploy(normal)
    session = flags.session()
    used = session.token
    assert [session.poll(), session.poll()] == [{"storeDelayMs": 0}, None]
    flags.deploy(slow)
    assert [session.poll(), session.poll()] == [{"storeDelayMs": 1500}, None]
    flags.deploy(normal)
    assert session.poll() == {"storeDelayMs": 0}
    with pytest.raises(ClientError, match="BadRequestException"):
        flags.data.get_latest_configuration(ConfigurationToken=used)


@pytest.mark.parametrize("interval_s", [1, 15, 86_400])
def test_a_session_may_poll_as_often_as_it_asked_for(flags: Flags, interval_s: int) -> None:
    """AWS allows 15 s or more, the local AWS 1 s, so that a game day fits into a test."""
    flags.deploy(flags.add({"storeDelayMs": 0}))
    session = flags.session(RequiredMinimumPollIntervalInSeconds=interval_s)
    for _ in range(2):
        session.poll()
        assert session.interval_s == interval_s


def test_a_poll_interval_beyond_the_limits_is_refused(flags: Flags) -> None:
    for interval_s in (0, 86_401):
        with pytest.raises(ClientError, match="BadRequestException"):
            flags.session(RequiredMinimumPollIntervalInSeconds=interval_s)


def test_only_a_version_that_exists_is_deployed(flags: Flags) -> None:
    """MiniStack itself would report COMPLETE and serve nothing."""
    flags.deploy(flags.add({"storeDelayMs": 0}))
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        flags.deploy("9")
    assert flags.value() == {"storeDelayMs": 0}


def test_a_version_is_deployed_by_its_label(flags: Flags) -> None:
    flags.add({"storeDelayMs": 0})
    flags.add({"storeDelayMs": 1500}, VersionLabel="slow")
    number = flags.deploy("slow")
    assert flags.deployment(number)["ConfigurationVersion"] == "2"
    assert flags.value() == {"storeDelayMs": 1500}


def test_a_deployment_that_takes_time_can_be_stopped_and_blocks_others(flags: Flags) -> None:
    """After the stop the previous version is served again."""
    slow = flags.client.create_deployment_strategy(
        Name=f"slow-{uuid.uuid4().hex[:8]}", DeploymentDurationInMinutes=10, GrowthFactor=50, ReplicateTo="NONE"
    )["Id"]
    normal, changed = flags.add({"storeDelayMs": 0}), flags.add({"storeDelayMs": 1500})
    flags.deploy(normal)
    number = flags.deploy(changed, DeploymentStrategyId=slow)
    assert flags.deployment(number)["State"] == "DEPLOYING"
    with pytest.raises(ClientError, match="ConflictException"):
        flags.deploy(normal)
    flags.client.stop_deployment(
        ApplicationId=flags.application, EnvironmentId=flags.environment, DeploymentNumber=number
    )
    assert flags.deployment(number)["State"] == "ROLLED_BACK"
    assert flags.value() == {"storeDelayMs": 0}


def test_a_session_accepts_names_instead_of_ids(flags: Flags) -> None:
    flags.deploy(flags.add({"storeDelayMs": 0}))
    name = flags.client.get_application(ApplicationId=flags.application)["Name"]
    token = flags.data.start_configuration_session(
        ApplicationIdentifier=name, EnvironmentIdentifier="local", ConfigurationProfileIdentifier="flags"
    )["InitialConfigurationToken"]
    assert Session(flags.data, token).poll() == {"storeDelayMs": 0}


def test_a_session_of_an_unknown_application_is_refused(flags: Flags) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        flags.data.start_configuration_session(
            ApplicationIdentifier=flags.application, EnvironmentIdentifier="nope",
            ConfigurationProfileIdentifier=flags.profile,
        )  # fmt: skip


# ---- CloudFormation ----

TYPES: dict[str, Any] = {
    "App": {"Type": "AWS::AppConfig::Application", "Properties": {"Name": {"Ref": "AWS::StackName"}}},
    "Env": {
        "Type": "AWS::AppConfig::Environment",
        "Properties": {"ApplicationId": {"Ref": "App"}, "Name": "local"},
    },
    "Profile": {
        "Type": "AWS::AppConfig::ConfigurationProfile",
        "Properties": {"ApplicationId": {"Ref": "App"}, "Name": "flags", "LocationUri": "hosted"},
    },
    "Normal": {
        "Type": "AWS::AppConfig::HostedConfigurationVersion",
        "Properties": {
            "ApplicationId": {"Ref": "App"}, "ConfigurationProfileId": {"Ref": "Profile"},
            "ContentType": "application/json", "Content": '{"storeDelayMs": 0}',
        },
    },
    "Slow": {
        "Type": "AWS::AppConfig::HostedConfigurationVersion",
        "DependsOn": "Normal",
        "Properties": {
            "ApplicationId": {"Ref": "App"}, "ConfigurationProfileId": {"Ref": "Profile"},
            "ContentType": "application/json", "Content": '{"storeDelayMs": 1500}',
        },
    },
    "Strategy": {
        "Type": "AWS::AppConfig::DeploymentStrategy",
        "Properties": {
            "Name": {"Ref": "AWS::StackName"}, "DeploymentDurationInMinutes": 0, "FinalBakeTimeInMinutes": 0,
            "GrowthFactor": 100, "ReplicateTo": "NONE",
        },
    },
    "Deployment": {
        "Type": "AWS::AppConfig::Deployment",
        "Properties": {
            "ApplicationId": {"Ref": "App"}, "EnvironmentId": {"Ref": "Env"},
            "ConfigurationProfileId": {"Ref": "Profile"}, "DeploymentStrategyId": {"Ref": "Strategy"},
            "ConfigurationVersion": {"Ref": "Normal"},
        },
    },
}  # fmt: skip


def test_a_stack_deploys_its_flags_and_deletes_them(cloud: Any) -> None:
    cloudformation, name = client(cloud, "cloudformation"), f"flags-{uuid.uuid4().hex[:8]}"
    outputs = {key: {"Value": {"Ref": key}} for key in ("App", "Env", "Profile", "Strategy", "Normal", "Slow")}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": TYPES, "Outputs": outputs}))

    def stack() -> dict[str, Any]:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]

    wait_until(lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"), "stack settled")
    assert stack()["StackStatus"] == "CREATE_COMPLETE", stack()
    ids = {each["OutputKey"]: each["OutputValue"] for each in stack()["Outputs"]}
    flags = Flags(
        client=client(cloud, "appconfig"), data=client(cloud, "appconfigdata"), application=ids["App"],
        environment=ids["Env"], profile=ids["Profile"], strategy=ids["Strategy"],
    )  # fmt: skip
    assert flags.value() == {"storeDelayMs": 0}
    flags.deploy(ids["Slow"])
    assert flags.value() == {"storeDelayMs": 1500}
    cloudformation.delete_stack(StackName=name)

    def is_gone() -> bool:
        return ids["App"] not in {each["Id"] for each in flags.client.list_applications()["Items"]}

    wait_until(is_gone, "the application is gone")


def test_a_stack_that_deploys_an_unknown_version_fails(cloud: Any) -> None:
    cloudformation, name = client(cloud, "cloudformation"), f"flags-{uuid.uuid4().hex[:8]}"
    wrong = {**TYPES["Deployment"]["Properties"], "ConfigurationVersion": "9"}
    body = {"Resources": {**TYPES, "Deployment": {**TYPES["Deployment"], "Properties": wrong}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body))

    def status() -> str:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]

    wait_until(lambda: not status().endswith("IN_PROGRESS"), "stack settled")
    assert status() == "ROLLBACK_COMPLETE"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("ministack.services.appconfig", ["_start_deployment", "_start_configuration_session", "_sessions"]),
        ("ministack.services.appconfig", ["_hosted_versions", "_config_profiles", "_deployments", "_error", "_iso"]),
        ("ministack.services.appconfig", ["_refresh_environment", "_apply_tags", "_deployment_arn"]),
    ],
)
def test_the_private_names_exist(module: str, names: list[str]) -> None:
    """If one is missing, another version of MiniStack is installed: check each patch."""
    loaded = __import__(module, fromlist=names)
    assert [name for name in names if not hasattr(loaded, name)] == []
