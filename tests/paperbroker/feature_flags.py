"""Deploy feature flags in a test's own AppConfig application."""

from __future__ import annotations

import json
from typing import Any


class FlagStore:
    """One application. `env` are the variables with which a task finds it; a deployed flag is effective at once."""

    def __init__(self, appconfig: Any, name: str) -> None:
        self._appconfig = appconfig
        self._application = appconfig.create_application(Name=name)["Id"]
        self._environment = appconfig.create_environment(ApplicationId=self._application, Name="all")["Id"]
        self._profile = appconfig.create_configuration_profile(
            ApplicationId=self._application, Name="flags", LocationUri="hosted", Type="AWS.Freeform"
        )["Id"]
        self._strategy = appconfig.create_deployment_strategy(
            Name=name,
            DeploymentDurationInMinutes=0,
            GrowthFactor=100.0,
            FinalBakeTimeInMinutes=0,
            ReplicateTo="NONE",
        )["Id"]
        self.env = {
            "PB_FLAGS_APPLICATION": self._application,
            "PB_FLAGS_ENVIRONMENT": self._environment,
            "PB_FLAGS_PROFILE": self._profile,
            "PB_FLAGS_POLL_S": "0.2",
        }

    def deploy(self, store_delay_ms: int) -> None:
        profile = {"ApplicationId": self._application, "ConfigurationProfileId": self._profile}
        version = self._appconfig.create_hosted_configuration_version(
            **profile, Content=json.dumps({"storeDelayMs": store_delay_ms}).encode(), ContentType="application/json"
        )["VersionNumber"]
        self._appconfig.start_deployment(
            **profile,
            EnvironmentId=self._environment,
            DeploymentStrategyId=self._strategy,
            ConfigurationVersion=str(version),
        )
