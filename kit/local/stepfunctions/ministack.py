"""Patch Step Functions' aws-sdk integration so that it can call REST services, following botocore's models.

MiniStack posts every such call to a fixed path: `aws-sdk:fis:startExperiment` would work, but not `getExperiment`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ministack import app
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from kit.local.patching import Patches, require
from kit.local.stepfunctions import definitions

# Services that MiniStack's own integration does not have, and the prefix of their errors.
SERVICES = {"fis": "Fis", "appconfig": "AppConfig"}


def install(patches: Patches) -> None:
    """Patch MiniStack's Step Functions."""
    require(stepfunctions, "_prefix_sdk_error", "_ExecutionError")
    for service, prefix in SERVICES.items():
        entry = {"protocol": "rest-json", "service_key": service}
        patches.add_entry(stepfunctions, "_AWS_SDK_SERVICE_MAP", service, entry)
        patches.add_entry(stepfunctions, "_AWS_SDK_ERROR_PREFIX", service, prefix)
    patches.wrap(stepfunctions, "_dispatch_aws_sdk_rest_json", _dispatch)
    patches.wrap(stepfunctions, "_validate_definition_jsonata", _validate)
    patches.wrap(provisioners, "_sfn_definition", _definition_of_template)


def _validate(validate: Callable[[Any], str | None], definition: Any) -> str | None:
    """Return why a definition is refused, or None."""
    return validate(definition) or definitions.problem(definition)


def _definition_of_template(read: Callable[[Any], str], properties: Any) -> str:
    """Return the definition in a template. Raises ValueError, which fails the stack."""
    definition = read(properties)
    if refused := definitions.problem(definition):
        raise ValueError(f"Invalid State Machine Definition: {refused}")
    return definition


def _dispatch(dispatch: Callable[..., Any], service_info: Any, service: str, action: str, given: Any) -> Any:
    """Call one of SERVICES by its model. Runs in worker threads."""
    if service not in SERVICES:
        return dispatch(service_info, service, action, given)
    return _call(service, action, given or {})


def _call(service: str, action: str, given: Mapping[str, Any]) -> Any:
    from botocore.serialize import create_serializer
    from botocore.validate import ParamValidator

    name = action[:1].upper() + action[1:]
    if name not in _model(service).operation_names:
        raise stepfunctions._ExecutionError("States.Runtime", f"{service} has no operation {action}")
    operation = _model(service).operation_model(name)
    arguments = _to_api(operation.input_shape, given)
    report = ParamValidator().validate(arguments, operation.input_shape)
    if report.has_errors():
        raise stepfunctions._ExecutionError("States.Runtime", f"{service}:{action}: {report.generate_report()}")
    request = create_serializer("rest-json").serialize_to_request(arguments, operation)
    url = urlsplit(request["url_path"])
    query = {**parse_qs(url.query), **request["query_string"]}
    body = request["body"] if isinstance(request["body"], bytes) else str(request["body"] or "").encode()
    headers = {key.lower(): value for key, value in request["headers"].items()}
    status, _, payload = app.call_service_handler_sync(
        app.SERVICE_HANDLERS.get(service), request["method"], url.path, headers, body, query
    )
    answer = _load(payload)
    if status >= 400:
        code = str(answer.get("__type") or answer.get("code") or "ServiceException")
        message = str(answer.get("message") or answer.get("Message") or payload)
        raise stepfunctions._ExecutionError(stepfunctions._prefix_sdk_error(service, code), message)
    return _to_states(operation.output_shape, answer)


@functools.cache
def _model(service: str) -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def _load(payload: bytes | str) -> dict[str, Any]:
    text = payload.decode() if isinstance(payload, bytes) else payload
    answer = json.loads(text) if text else {}
    return answer if isinstance(answer, dict) else {}


def _to_api(shape: Any, value: Any) -> Any:
    """Rename members from Step Functions' PascalCase to the model's names; keys of maps stay as they are."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = {member.lower(): member for member in shape.members}
        # Unknown members stay, so that validation refuses them by name.
        named = {members.get(key.lower(), key): item for key, item in value.items()}
        return {key: _to_api(shape.members[key], item) if key in shape.members else item for key, item in named.items()}
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: _to_api(shape.value, item) for key, item in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_to_api(shape.member, item) for item in value]
    return value


def _to_states(shape: Any, value: Any) -> Any:
    """Rename members to PascalCase and write timestamps in ISO 8601, as Step Functions does."""
    if shape is None or value is None:
        return value
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: _to_states(shape.members.get(key), item) for key, item in value.items()}
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {key: _to_states(shape.value, item) for key, item in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_to_states(shape.member, item) for item in value]
    if shape.type_name == "timestamp" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
