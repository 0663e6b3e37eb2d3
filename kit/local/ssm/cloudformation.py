"""Make AWS::SSM::Document for CloudFormation.

`Ref` is the document's name. As on AWS, an update replaces the document, whose generated name changes, unless
`UpdateMethod: NewVersion` asks for a new default version.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services.cloudformation import provisioners

from kit.local.patching import Patches
from kit.local.ssm.documents import Documents, tags_of
from kit.local.ssm.errors import DuplicateDocumentContent, InvalidDocumentContent, InvalidRequest

TYPE = "AWS::SSM::Document"
NEW_VERSION = "NewVersion"
PROPERTIES = frozenset(
    {"Attachments", "Content", "DocumentFormat", "DocumentType", "Name", "Requires", "Tags", "TargetType"}
    | {"UpdateMethod", "VersionName"}
)
# The default on AWS, which the local AWS refuses by name.
TYPE_DEFAULT = "Command"

Props = dict[str, Any]


def install(patches: Patches, documents: Documents) -> None:
    """Add the resource type."""
    resource = _Resource(documents)
    handlers = {
        "create": resource.create,
        "update": resource.update,
        "update_with_logical_id": True,
        "delete": resource.delete,
    }
    patches.add_resource_type(TYPE, handlers, tags="list")


class _Resource:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def create(self, logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
        name = props.get("Name") or provisioners._physical_name(stack_name, logical_id)
        self._documents.create({"DocumentType": TYPE_DEFAULT, **_request(logical_id, props), "Name": name})
        return name, {}

    def update(
        self, physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str | None = None
    ) -> tuple[str, Props]:
        if {**old, "Tags": None} == {**new, "Tags": None}:
            self._documents.get(physical_id).tags = tags_of(new.get("Tags") or ())
            return physical_id, {}
        if new.get("UpdateMethod") == NEW_VERSION and (old.get("Name"), new.get("Name")) in (
            (None, None),
            (physical_id, physical_id),
        ):
            return self._renew(physical_id, new)
        return self._replace(physical_id, old, new, stack_name, logical_id or physical_id)

    def _renew(self, name: str, props: Props) -> tuple[str, Props]:
        request = _request(name, props)
        request.pop("DocumentType", None)
        try:
            document, version = self._documents.update({**request, "Name": name})
        except DuplicateDocumentContent:
            # A rollback, or a template that was changed back: the version exists already.
            document = self._documents.get(name)
            version = next(each for each in document.versions.values() if each.content == request["Content"])
        document.default = version.number
        document.tags = tags_of(props.get("Tags") or ())
        return name, {}

    def _replace(self, physical_id: str, old: Props, new: Props, stack: str, logical_id: str) -> tuple[str, Props]:
        if new.get("Name") == physical_id:
            raise InvalidRequest(
                f"CloudFormation cannot update a stack when a custom-named resource requires replacing: rename "
                f"{physical_id}, or set UpdateMethod: {NEW_VERSION}"
            )
        replaced = provisioners._seeded_create(self.create, logical_id, new, stack)
        provisioners._delete_predecessor(self.delete, physical_id, old)
        return replaced

    def delete(self, physical_id: str, props: Props) -> None:
        if self._documents.find(physical_id) is not None:
            self._documents.delete(physical_id)


def _request(where: str, props: Props) -> Props:
    unknown = sorted(set(props) - PROPERTIES)
    if unknown:
        raise InvalidRequest(f"{where} has no property {unknown[0]}")
    content = props.get("Content")
    if not content:
        raise InvalidDocumentContent(f"{where}: Content is required")
    request = {key: value for key, value in props.items() if key != "UpdateMethod"}
    if not isinstance(content, str):
        # An object in the template becomes JSON.
        request["Content"] = json.dumps(content)
    return request
