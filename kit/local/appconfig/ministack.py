"""Patch MiniStack's AppConfig.

Only a version that exists can be deployed: MiniStack would serve nothing and report COMPLETE. A session may ask for
shorter poll intervals than AWS's 15 s, so that a game day fits into a test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ministack.services import appconfig

from kit.local.patching import Patches, require

# AWS accepts 15 to 86400. Clients check that, too, unless parameter validation is switched off.
POLL_S_MIN = 1
POLL_S_MIN_AWS = 15
HOSTED = "hosted"
COMPLETE = "COMPLETE"
DEPLOYMENT_TYPE = "AWS::AppConfig::Deployment"

Reply = tuple[int, dict[str, str], bytes]


def install(patches: Patches) -> None:
    """Patch MiniStack's AppConfig and its CloudFormation type for deployments."""
    require(appconfig, "_sessions", "_hosted_versions", "_config_profiles", "_deployments", "_error")
    patches.wrap(appconfig, "_start_deployment", _start_deployment)
    patches.wrap(appconfig, "_start_configuration_session", _start_session)
    patches.wrap_resource_handler(DEPLOYMENT_TYPE, "create", _create_deployment)


def _start_deployment(start: Callable[..., Reply], app_id: str, env_id: str, body: dict[str, Any]) -> Reply:
    """Refuse a hosted version that does not exist; replace a version label by the number of its version."""
    profile_id = body.get("ConfigurationProfileId", "")
    profile = appconfig._config_profiles.get(f"{app_id}/{profile_id}")
    if profile is None or profile.get("LocationUri") != HOSTED:
        return start(app_id, env_id, body)
    version = str(body.get("ConfigurationVersion", ""))
    number = _version(appconfig._hosted_versions, f"{app_id}/{profile_id}", version)
    if number is None:
        message = f"Hosted configuration version {version} of profile {profile_id} not found"
        return appconfig._error(404, "ResourceNotFoundException", message)
    return start(app_id, env_id, {**body, "ConfigurationVersion": number})


def _create_deployment(
    _create: Callable[..., Any], logical_id: str, props: dict[str, Any], _stack_name: str
) -> tuple[str, dict[str, Any]]:
    """Create AWS::AppConfig::Deployment through StartDeployment, so that the same rules hold for both.

    CloudFormation waits until a deployment is complete; here it is complete at once, whatever its strategy.
    """
    body = {key: value for key, value in props.items() if key not in ("ApplicationId", "EnvironmentId", "Tags")}
    app_id, env_id = str(props.get("ApplicationId", "")), str(props.get("EnvironmentId", ""))
    status, _, payload = appconfig._start_deployment(app_id, env_id, body)
    answer = json.loads(payload)
    if status >= 400:
        raise ValueError(f"{logical_id}: {answer.get('Message')}")
    number = answer["DeploymentNumber"]
    record = appconfig._deployments[f"{app_id}/{env_id}/{number}"]
    now = time.time()
    if record["State"] != COMPLETE:
        ended = {"_CompletedEpoch": now, "CompletedAt": appconfig._iso(now)}
        record.update({"State": COMPLETE, "PercentageComplete": 100.0, **ended})
    appconfig._refresh_environment(app_id, env_id)
    tags = {tag["Key"]: tag["Value"] for tag in props.get("Tags") or ()}
    appconfig._apply_tags(appconfig._deployment_arn(app_id, env_id, number), tags)
    return str(number), {"DeploymentNumber": number, "State": COMPLETE}


def _start_session(start: Callable[..., Reply], body: dict[str, Any]) -> Reply:
    """Allow shorter poll intervals than AWS does."""
    interval_s = body.get("RequiredMinimumPollIntervalInSeconds")
    if not isinstance(interval_s, int) or not POLL_S_MIN <= interval_s < POLL_S_MIN_AWS:
        return start(body)
    status, headers, payload = start({**body, "RequiredMinimumPollIntervalInSeconds": POLL_S_MIN_AWS})
    if status < 400:
        session = appconfig._sessions[json.loads(payload)["InitialConfigurationToken"]]
        session["PollIntervalInSeconds"] = interval_s
    return status, headers, payload


def _version(versions: Any, profile: str, wanted: str) -> str | None:
    """Return the number of the version that has this number or label, or None."""
    if f"{profile}/{wanted}" in versions:
        return wanted
    for key, version in versions.items():
        if key.startswith(f"{profile}/") and wanted and version.get("VersionLabel") == wanted:
            return str(version["VersionNumber"])
    return None
