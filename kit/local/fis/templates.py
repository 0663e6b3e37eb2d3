"""Make, change and show experiment templates.

A template is kept in the API's own shape (camelCase dicts), because everything that reads it uses that shape.
"""

import secrets
import string
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region

from kit.durations import duration_s
from kit.fis_rules.rules import ALARM_SOURCE, TOKEN, check_template, tag_problems
from kit.local.fis.errors import InvalidRequest, QuotaExceeded

TEMPLATES_MAX = 500
ID_LETTERS = 17

Template = dict[str, Any]

# The defaults of members that a template may omit.
_DEFAULTS: Mapping[str, Any] = {"targets": {}, "logConfiguration": None, "experimentReportConfiguration": None}
_DEFAULT_OPTIONS = {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"}
_UPDATABLE = (
    "description", "targets", "actions", "stopConditions", "roleArn", "logConfiguration",
    "experimentReportConfiguration", "experimentOptions",
)  # fmt: skip


def make_id(prefix: str) -> str:
    """Make an id like `EXT…` or `EXP…`."""
    return prefix + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(ID_LETTERS))


def arn_of(kind: str, identifier: str) -> str:
    """Return an ARN of FIS in the caller's account and Region."""
    return f"arn:aws:fis:{get_region()}:{get_account_id()}:{kind}/{identifier}"


def checked(body: Mapping[str, Any], *, is_cloudformation: bool = False) -> dict[str, Any]:
    """Return the request that AWS accepts. Raises InvalidRequest or QuotaExceeded for the first problem."""
    result = check_template(body, is_cloudformation=is_cloudformation)
    for problem in result.problems:
        raise QuotaExceeded(str(problem)) if problem.is_quota else InvalidRequest(str(problem))
    return result.request


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InvalidRequest for a tag key that AWS reserves."""
    for problem in tag_problems(tags):
        raise InvalidRequest(str(problem))


def create(request: Mapping[str, Any]) -> Template:
    """Make a template from a checked request."""
    now = time.time()
    template_id = make_id("EXT")
    return {
        **_DEFAULTS,
        **{name: value for name, value in request.items() if name != TOKEN},
        "id": template_id,
        "arn": arn_of("experiment-template", template_id),
        "creationTime": now,
        "lastUpdateTime": now,
        "tags": dict(request.get("tags") or {}),
        "experimentOptions": {**_DEFAULT_OPTIONS, **(request.get("experimentOptions") or {})},
        "targetAccountConfigurationsCount": 0,
    }


def updated(template: Template, request: Mapping[str, Any]) -> Template:
    """Return the template after an UpdateExperimentTemplate request: the given members replace the old ones."""
    options = {**template["experimentOptions"], **(request.get("experimentOptions") or {})}
    new = {**template, **request, "experimentOptions": options}
    return {**template, **checked({name: new[name] for name in _UPDATABLE}), "lastUpdateTime": time.time()}


def replaced(template: Template, request: Mapping[str, Any]) -> Template:
    """Return the template with everything but its identity taken from a checked request."""
    kept = ("id", "arn", "creationTime", "targetAccountConfigurationsCount")
    return {**create(request), **{name: template[name] for name in kept}}


def summary(template: Template) -> dict[str, Any]:
    """Return the template as ListExperimentTemplates describes it."""
    return {key: template[key] for key in ("id", "arn", "description", "creationTime", "lastUpdateTime", "tags")}


def held_s(action: Mapping[str, Any]) -> float:
    """Return how long the engine holds the action; 0 for actions that have no duration."""
    text = (action.get("parameters") or {}).get("duration")
    return (duration_s(text) or 0.0) if text else 0.0


def alarm_arns(stop_conditions: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the alarms that stop an experiment."""
    return [each["value"] for each in stop_conditions if each["source"] == ALARM_SOURCE]
