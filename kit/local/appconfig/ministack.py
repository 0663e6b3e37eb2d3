"""AppConfig: what MiniStack's lacks of AWS's promises, corrected in one place.

Owns two corrections: only a version that exists can be deployed (MiniStack would serve nothing, and say COMPLETE),
and a session may ask for polls closer than AWS's 15 s, so that a game day fits into a test. Deployments themselves,
their strategies and the token chain of sessions are MiniStack's.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from kit.errors import CloudError

# AWS: 15 to 86400; a client checks that itself, unless it is told not to.
POLL_S_MIN = 1
POLL_S_MIN_AWS = 15
HOSTED = "hosted"
COMPLETE = "COMPLETE"
DEPLOYMENT_TYPE = "AWS::AppConfig::Deployment"

Reply = tuple[int, dict[str, str], bytes]


def install() -> None:
    """Correct MiniStack in this process. Call once, after its import and before its start."""
    from ministack.services import appconfig
    from ministack.services.cloudformation import provisioners

    for name in ("_start_deployment", "_start_configuration_session", "_sessions", "_hosted_versions", "_error"):
        if not hasattr(appconfig, name):
            raise CloudError(f"{appconfig.__name__}.{name} is gone: this MiniStack is not the pinned one")
    appconfig._start_deployment = deploying_what_exists(appconfig)
    appconfig._start_configuration_session = polling_closely(appconfig)
    handlers = provisioners._RESOURCE_HANDLERS[DEPLOYMENT_TYPE]
    provisioners._RESOURCE_HANDLERS[DEPLOYMENT_TYPE] = {**handlers, "create": creating_deployments(appconfig)}


def deploying_what_exists(appconfig: ModuleType) -> Callable[..., Reply]:
    """`_start_deployment` that refuses a hosted version which is not there; a version label means its version."""
    start = appconfig._start_deployment

    @functools.wraps(start)
    def start_deployment(app_id: str, env_id: str, body: dict[str, Any]) -> Reply:
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

    return start_deployment


def creating_deployments(appconfig: ModuleType) -> Callable[..., tuple[str, dict[str, Any]]]:
    """CloudFormation's AWS::AppConfig::Deployment by way of StartDeployment, so that both obey the same rules.

    CloudFormation waits until a deployment is complete; here it is complete at once, whatever its strategy.
    """

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
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

    return create


def polling_closely(appconfig: ModuleType) -> Callable[..., Reply]:
    """`_start_configuration_session` that grants a wish for polls closer than AWS does."""
    start = appconfig._start_configuration_session

    @functools.wraps(start)
    def start_session(body: dict[str, Any]) -> Reply:
        wish = body.get("RequiredMinimumPollIntervalInSeconds")
        if not isinstance(wish, int) or not POLL_S_MIN <= wish < POLL_S_MIN_AWS:
            return start(body)
        status, headers, payload = start({**body, "RequiredMinimumPollIntervalInSeconds": POLL_S_MIN_AWS})
        if status < 400:
            session = appconfig._sessions[json.loads(payload)["InitialConfigurationToken"]]
            session["PollIntervalInSeconds"] = wish
        return status, headers, payload

    return start_session


def _version(versions: Mapping[str, Mapping[str, Any]], profile: str, wanted: str) -> str | None:
    """The number of the version that a number or a label means."""
    if f"{profile}/{wanted}" in versions:
        return wanted
    for key, version in versions.items():
        if key.startswith(f"{profile}/") and wanted and version.get("VersionLabel") == wanted:
            return str(version["VersionNumber"])
    return None
