"""Serve our operations of Systems Manager: a validated request in, the response out.

`OPERATIONS` maps operation names to functions. Calls of all other operations go to MiniStack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.local.ssm import wire
from kit.local.ssm.automations import Automations
from kit.local.ssm.documents import AUTOMATION, Documents, tags_of
from kit.local.ssm.errors import InvalidFilterKey, InvalidResourceId, Unsupported
from kit.local.ssm.execution_runner import CANCEL
from kit.local.ssm.executions import Execution
from kit.local.ssm.opsitems import SUMMARY, OpsItems

# We serve the tag operations for these types; MiniStack serves those for parameters.
TAGGED_TYPES = frozenset({"Document", "Automation", "OpsItem"})

Request = Mapping[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state that the operations read and change."""

    documents: Documents
    automations: Automations
    opsitems: OpsItems


def create_document(ssm: State, request: Request) -> Response:
    # The default type on AWS is Command, which is refused below by its name.
    document = ssm.documents.create({"DocumentType": "Command", **request})
    return {"DocumentDescription": document.describe(document.version())}


def update_document(ssm: State, request: Request) -> Response:
    document, version = ssm.documents.update(request)
    return {"DocumentDescription": document.describe(version)}


def update_document_default_version(ssm: State, request: Request) -> Response:
    document = ssm.documents.get(request["Name"])
    version = document.version(request["DocumentVersion"])
    document.default = version.number
    shown = {"Name": document.name, "DefaultVersion": str(version.number), "DefaultVersionName": version.name or None}
    return {"Description": shown}


def get_document(ssm: State, request: Request) -> Response:
    document = ssm.documents.get(request["Name"])
    version = document.version(request.get("DocumentVersion"), request.get("VersionName"))
    if request.get("DocumentFormat") not in (None, version.format):
        raise Unsupported(f"document {document.name} is {version.format}; the local AWS does not convert it")
    return {
        "Name": document.name,
        "CreatedDate": version.created_at,
        "DisplayName": document.display_name or None,
        "VersionName": version.name or None,
        "DocumentVersion": str(version.number),
        "Status": "Active",
        "Content": version.content,
        "DocumentType": AUTOMATION,
        "DocumentFormat": version.format,
    }


def describe_document(ssm: State, request: Request) -> Response:
    document = ssm.documents.get(request["Name"])
    version = document.version(request.get("DocumentVersion"), request.get("VersionName"))
    return {"Document": document.describe(version)}


def list_documents(ssm: State, request: Request) -> Response:
    wanted = {item["Key"]: item["Values"] for item in request.get("Filters") or ()}
    wanted |= {item["key"]: [item["value"]] for item in request.get("DocumentFilterList") or ()}
    shown = [document.summarize(document.version()) for document in ssm.documents.all()]
    return wire.page("DocumentIdentifiers", [each for each in shown if _passes(each, wanted)], request)


def list_document_versions(ssm: State, request: Request) -> Response:
    document = ssm.documents.get(request["Name"])
    shown = [
        {
            "Name": document.name,
            "DocumentVersion": str(version.number),
            "VersionName": version.name or None,
            "CreatedDate": version.created_at,
            "IsDefaultVersion": version.number == document.default,
            "DocumentFormat": version.format,
            "Status": "Active",
        }
        for version in sorted(document.versions.values(), key=lambda each: -each.number)
    ]
    return wire.page("DocumentVersions", shown, request)


def delete_document(ssm: State, request: Request) -> Response:
    ssm.documents.delete(request["Name"], request.get("DocumentVersion"), request.get("VersionName"))
    return {}


def start_automation_execution(ssm: State, request: Request) -> Response:
    tags = tags_of(request.get("Tags") or ())
    started = ssm.automations.start_once(request.get("ClientToken"), request, tags=tags)
    return {"AutomationExecutionId": started}


def get_automation_execution(ssm: State, request: Request) -> Response:
    return {"AutomationExecution": ssm.automations.get(request["AutomationExecutionId"]).describe()}


def describe_automation_executions(ssm: State, request: Request) -> Response:
    found = ssm.automations.all()
    for item in request.get("Filters") or ():
        accepts = _EXECUTION_FILTERS.get(item["Key"])
        if accepts is None:
            raise InvalidFilterKey(f"filter {item['Key']} is not evaluated by the local AWS")
        found = [each for each in found if any(accepts(each, value) for value in item["Values"])]
    return wire.page("AutomationExecutionMetadataList", [each.summary() for each in found], request)


def describe_automation_step_executions(ssm: State, request: Request) -> Response:
    execution = ssm.automations.get(request["AutomationExecutionId"])
    shown = [run.describe() for run in execution.steps.values()]
    for item in request.get("Filters") or ():
        member = _STEP_FILTERS.get(item["Key"])
        if member is None:
            raise InvalidFilterKey(f"filter {item['Key']} is not evaluated by the local AWS")
        shown = [each for each in shown if each[member] in item["Values"]]
    return wire.page("StepExecutions", shown[::-1] if request.get("ReverseOrder") else shown, request)


def stop_automation_execution(ssm: State, request: Request) -> Response:
    ssm.automations.stop(request["AutomationExecutionId"], request.get("Type", CANCEL))
    return {}


def create_ops_item(ssm: State, request: Request) -> Response:
    item = ssm.opsitems.create(request)
    return {"OpsItemId": item.id, "OpsItemArn": item.arn}


def get_ops_item(ssm: State, request: Request) -> Response:
    item = ssm.opsitems.get(request["OpsItemId"])
    return {"OpsItem": {**item.describe(), "Version": str(item.version), "OpsItemArn": item.arn}}


def update_ops_item(ssm: State, request: Request) -> Response:
    ssm.opsitems.update(request)
    return {}


def describe_ops_items(ssm: State, request: Request) -> Response:
    found = ssm.opsitems.select(request.get("OpsItemFilters") or [])
    return wire.page("OpsItemSummaries", [item.describe(SUMMARY) for item in found], request)


def add_tags_to_resource(ssm: State, request: Request) -> Response:
    _tags(ssm, request).update(tags_of(request["Tags"]))
    return {}


def remove_tags_from_resource(ssm: State, request: Request) -> Response:
    tags = _tags(ssm, request)
    for key in request["TagKeys"]:
        tags.pop(key, None)
    return {}


def list_tags_for_resource(ssm: State, request: Request) -> Response:
    return {"TagList": [{"Key": key, "Value": value} for key, value in _tags(ssm, request).items()]}


def _tags(ssm: State, request: Request) -> dict[str, str]:
    """Return the tag map of a document, an execution or an OpsItem, to be changed in place."""
    kind, resource_id = request["ResourceType"], request["ResourceId"]
    if kind == "Document":
        document = ssm.documents.find(resource_id)
        if document is None:
            raise InvalidResourceId(f"document {resource_id} does not exist")
        return document.tags
    if kind == "Automation":
        return ssm.automations.get(resource_id).tags
    return ssm.opsitems.get(resource_id).tags


def _passes(shown: Mapping[str, Any], wanted: Mapping[str, list[str]]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in shown["Tags"]}
    for key, values in wanted.items():
        if key.startswith("tag:"):
            is_match = tags.get(key.removeprefix("tag:")) in values
        elif key == "Name":
            # As on AWS, a name is matched by its prefix.
            is_match = any(shown["Name"].startswith(value) for value in values)
        elif key == "Owner":
            is_match = bool({"Self", "All", shown["Owner"]} & set(values))
        elif key in ("DocumentType", "SchemaVersion", "TargetType"):
            is_match = shown[key] in values
        elif key == "PlatformTypes":
            is_match = bool(set(shown["PlatformTypes"]) & set(values))
        else:
            raise InvalidFilterKey(f"filter {key} is not evaluated by the local AWS")
        if not is_match:
            return False
    return True


_EXECUTION_FILTERS: Mapping[str, Callable[[Execution, str], bool]] = {
    "DocumentNamePrefix": lambda execution, value: execution.document.startswith(value),
    "ExecutionStatus": lambda execution, value: execution.status == value,
    "ExecutionId": lambda execution, value: execution.id == value,
    "CurrentAction": lambda execution, value: execution.summary()["CurrentAction"] == value,
    "TagKey": lambda execution, value: value in execution.tags,
}
_STEP_FILTERS = {
    "StepExecutionStatus": "StepStatus", "StepExecutionId": "StepExecutionId", "StepName": "StepName",
    "Action": "Action",
}  # fmt: skip

OPERATIONS: Mapping[str, Callable[[State, Request], Response]] = {
    "CreateDocument": create_document,
    "UpdateDocument": update_document,
    "UpdateDocumentDefaultVersion": update_document_default_version,
    "GetDocument": get_document,
    "DescribeDocument": describe_document,
    "ListDocuments": list_documents,
    "ListDocumentVersions": list_document_versions,
    "DeleteDocument": delete_document,
    "StartAutomationExecution": start_automation_execution,
    "GetAutomationExecution": get_automation_execution,
    "DescribeAutomationExecutions": describe_automation_executions,
    "DescribeAutomationStepExecutions": describe_automation_step_executions,
    "StopAutomationExecution": stop_automation_execution,
    "CreateOpsItem": create_ops_item,
    "GetOpsItem": get_ops_item,
    "UpdateOpsItem": update_ops_item,
    "DescribeOpsItems": describe_ops_items,
}
TAG_OPERATIONS: Mapping[str, Callable[[State, Request], Response]] = {
    "AddTagsToResource": add_tags_to_resource,
    "RemoveTagsFromResource": remove_tags_from_resource,
    "ListTagsForResource": list_tags_for_resource,
}
