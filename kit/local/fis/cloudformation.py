"""Make, change and delete AWS::FIS::ExperimentTemplate resources.

The properties are the API's members in PascalCase, and `kit.fis_rules` checks them as it checks the API's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kit.local.fis import templates
from kit.local.fis.control_plane import ControlPlane
from kit.local.main_loop import on_main_loop

# Tags that CloudFormation itself adds; only these may begin with `aws:`.
STACK_TAG_PREFIX = "aws:cloudformation:"

Properties = dict[str, Any]


def resource_handlers(plane: ControlPlane) -> dict[str, Callable[..., Any]]:
    """Return the handlers by verb. CloudFormation calls them from worker threads, and the loop's thread runs them."""
    resource = _TemplateResource(plane)
    return {name: on_main_loop(getattr(resource, name)) for name in ("create", "update", "delete")}


class _TemplateResource:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> tuple[str, Properties]:
        template = self._plane.add_template(templates.create(_request(properties)))
        return template["id"], {"Id": template["id"]}

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> tuple[str, Properties]:
        """Replace the whole template, so that a property that was removed from the stack's template is reset."""
        self._plane.replace_template(templates.replaced(self._plane.template(physical_id), _request(new)))
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, properties: Properties) -> None:
        self._plane.remove_template(physical_id)


def _request(properties: Properties) -> dict[str, Any]:
    """Check the properties, and return them in the API's notation with the stack's tags."""
    properties = properties or {}  # A template may say `Properties:` and nothing else.
    tags = properties.get("Tags")
    if not isinstance(tags, dict):
        return templates.checked(properties, is_cloudformation=True)
    stack_tags = {key: value for key, value in tags.items() if key.startswith(STACK_TAG_PREFIX)}
    own_tags = {key: value for key, value in tags.items() if key not in stack_tags}
    request = templates.checked({**properties, "Tags": own_tags}, is_cloudformation=True)
    return {**request, "tags": {**request["tags"], **stack_tags}}
