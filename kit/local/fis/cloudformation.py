"""CloudFormation: AWS::FIS::ExperimentTemplate.

The resource's properties are the API's members in PascalCase, so botocore's model does the mapping. Owns the
seam to MiniStack's provisioners; knows no experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ministack.services.cloudformation import provisioners

from kit.local.fis import templates, wire
from kit.local.fis.errors import InvalidRequest

if TYPE_CHECKING:
    from kit.local.fis.service import Fis

TYPE = "AWS::FIS::ExperimentTemplate"

Props = dict[str, Any]


def hook(fis: Fis) -> list[Callable[[], object]]:
    """Install; returns how to undo it."""
    resource = _Resource(fis)
    provisioners._RESOURCE_HANDLERS[TYPE] = {
        "create": resource.create,
        "update": resource.update,
        "delete": resource.delete,
    }
    provisioners._STACK_TAG_PROPERTY[TYPE] = ("Tags", "map")
    return [
        lambda: provisioners._RESOURCE_HANDLERS.pop(TYPE, None),
        lambda: provisioners._STACK_TAG_PROPERTY.pop(TYPE, None),
    ]


class _Resource:
    def __init__(self, fis: Fis) -> None:
        self._fis = fis

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        request = _request("CreateExperimentTemplateRequest", logical_id, props)
        request["clientToken"] = logical_id
        wire.check("CreateExperimentTemplateRequest", request)
        template = self._fis.add_template(templates.create(request))
        self._fis.save_soon()
        return template["id"], {"Id": template["id"]}

    def update(self, physical_id: str, old: Props, new: Props, stack_name: str) -> tuple[str, Props]:
        request = _request("CreateExperimentTemplateRequest", physical_id, new)
        template = self._fis.template(physical_id)
        # A property that went from the template is reset, not kept: CloudFormation declares the whole.
        whole = {"targets": {}, "logConfiguration": None, "experimentReportConfiguration": None, **request}
        changed = templates.updated(template, whole)
        changed["tags"] = dict(request.get("tags") or {})
        self._fis.templates[physical_id] = changed
        self._fis.save_soon()
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, props: Props) -> None:
        self._fis.templates.pop(physical_id, None)
        self._fis.target_accounts.pop(physical_id, None)
        self._fis.save_soon()


def _request(shape_name: str, where: str, props: Props) -> dict[str, Any]:
    return _convert(wire.model().shape_for(shape_name), props, where)


def _convert(shape: Any, value: Any, where: str) -> Any:
    """The property in the API's shape; a property that the API lacks is refused, not dropped."""
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            raise InvalidRequest(f"{where} must be an object")
        members = {name[:1].upper() + name[1:]: name for name in shape.members}
        unknown = sorted(set(value) - set(members))
        if unknown:
            raise InvalidRequest(f"{where} has no property {unknown[0]}")
        return {
            members[key]: _convert(shape.members[members[key]], item, f"{where}.{key}")
            for key, item in value.items()
            if item is not None
        }
    if shape.type_name == "map":
        return {str(key): _convert(shape.value, item, f"{where}.{key}") for key, item in dict(value).items()}
    if shape.type_name == "list":
        return [_convert(shape.member, item, where) for item in (value if isinstance(value, list) else [value])]
    if shape.type_name == "integer":
        return int(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
