"""SSM documents through boto3 and CloudFormation; other operations go to MiniStack or are refused."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.local.ssm_rig import SLOW_STORE, SsmRig, client, runbook, sleep
from tests.polling import wait_until


@pytest.fixture(scope="module")
def rig(cloud: Any) -> SsmRig:
    return SsmRig(cloud)


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_a_document_is_stored_unchanged_and_described(rig: SsmRig) -> None:
    parameters = {"Duration": {"type": "String", "default": "PT1M"}, "Name": {"type": "String"}}
    content = yaml.safe_dump(runbook(sleep(1), parameters=parameters))
    name = rig.document(content, Tags=[{"Key": "a", "Value": "b"}], VersionName="first")
    got = rig.ssm.get_document(Name=name)
    assert (got["Content"], got["DocumentFormat"], got["DocumentType"]) == (content, "YAML", "Automation")
    shown = rig.ssm.describe_document(Name=rig.arn(name))["Document"]
    assert (shown["Name"], shown["SchemaVersion"], shown["Status"]) == (name, "0.3", "Active")
    assert (shown["DefaultVersion"], shown["LatestVersion"], shown["VersionName"]) == ("1", "1", "first")
    defaults = {each["Name"]: each.get("DefaultValue") for each in shown["Parameters"]}
    assert (defaults["Duration"], defaults["Name"]) == ("PT1M", None)


def test_a_new_version_becomes_the_default_by_a_call_of_its_own(rig: SsmRig) -> None:
    name = rig.document(runbook(sleep(1)))
    changed = json.dumps(runbook(sleep(2)))
    rig.ssm.update_document(Name=name, Content=changed, DocumentFormat="JSON", DocumentVersion="$LATEST")
    versions = {each["DocumentVersion"]: each["IsDefaultVersion"]
                for each in rig.ssm.list_document_versions(Name=name)["DocumentVersions"]}  # fmt: skip
    assert versions == {"1": True, "2": False}
    assert rig.ssm.get_document(Name=name, DocumentVersion="$LATEST")["Content"] == changed
    rig.ssm.update_document_default_version(Name=name, DocumentVersion="2")
    assert rig.ssm.get_document(Name=name)["DocumentVersion"] == "2"
    assert code_of(rig.ssm.delete_document, Name=name, DocumentVersion="2") == "InvalidDocumentOperation"
    rig.ssm.delete_document(Name=name, DocumentVersion="1")
    assert code_of(rig.ssm.get_document, Name=name, DocumentVersion="1") == "InvalidDocumentVersion"
    assert code_of(rig.ssm.update_document, Name=name, Content=changed) == "DuplicateDocumentContent"


def test_a_deleted_document_does_not_exist_any_more(rig: SsmRig) -> None:
    name = rig.document(runbook(sleep(1)))
    rig.ssm.delete_document(Name=name)
    assert code_of(rig.ssm.describe_document, Name=name) == "InvalidDocument"


def test_documents_are_listed_by_name_owner_and_tag(rig: SsmRig) -> None:
    first, second = (rig.document(runbook(sleep(1)), Tags=[{"Key": "n", "Value": each}]) for each in "12")

    def names(*filters: tuple[str, str]) -> set[str]:
        wanted = [{"Key": key, "Values": [value]} for key, value in filters]
        pages = rig.ssm.get_paginator("list_documents").paginate(Filters=wanted, PaginationConfig={"PageSize": 1})
        return {each["Name"] for page in pages for each in page["DocumentIdentifiers"]}

    assert {first, second} <= names(("Owner", "Self"), ("Name", "doc-"))
    assert second in names(("tag:n", "2"))
    assert first not in names(("tag:n", "2"))
    assert names(("Owner", "Amazon")) == set()


def test_tags_of_a_document_are_added_and_removed(rig: SsmRig) -> None:
    name = rig.document(runbook(sleep(1)))
    where = {"ResourceType": "Document", "ResourceId": name}
    rig.ssm.add_tags_to_resource(**where, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    rig.ssm.remove_tags_from_resource(**where, TagKeys=["a"])
    assert rig.ssm.list_tags_for_resource(**where)["TagList"] == [{"Key": "b", "Value": "2"}]
    gone = {**where, "ResourceId": "not-there"}
    assert code_of(rig.ssm.list_tags_for_resource, **gone) == "InvalidResourceId"


@pytest.mark.parametrize(
    ("content", "settings", "code"),
    [
        ("no document", {}, "InvalidDocumentContent"),
        (json.dumps({"schemaVersion": "2.2", "mainSteps": []}), {}, "InvalidDocumentSchemaVersion"),
        (json.dumps(runbook(sleep(1))), {"DocumentType": "Command"}, "UnsupportedOperation"),
        (json.dumps(runbook(sleep(1))), {"DocumentFormat": "TEXT"}, "InvalidDocumentContent"),
        (json.dumps(runbook(sleep(1))), {"Name": "AWS-Mine"}, "ValidationException"),
        (SLOW_STORE, {"DocumentFormat": "JSON"}, "InvalidDocumentContent"),
    ],
)
def test_a_document_that_cannot_run_is_refused(rig: SsmRig, content: str, settings: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        rig.document(content, **settings)
    assert caught.value.response["Error"]["Code"] == code


def test_a_document_name_is_unique(rig: SsmRig) -> None:
    name = rig.document(runbook(sleep(1)))
    with pytest.raises(ClientError, match="DocumentAlreadyExists"):
        rig.document(runbook(sleep(1)), Name=name)


def test_ministack_still_serves_parameters_and_their_tags(rig: SsmRig) -> None:
    name = f"/p/{uuid.uuid4().hex}"
    rig.ssm.put_parameter(Name=name, Value="v", Type="String")
    where = {"ResourceType": "Parameter", "ResourceId": name}
    rig.ssm.add_tags_to_resource(**where, Tags=[{"Key": "a", "Value": "1"}])
    assert rig.ssm.list_tags_for_resource(**where)["TagList"] == [{"Key": "a", "Value": "1"}]
    assert rig.parameter(name) == "v"


def test_operations_without_a_real_effect_are_refused(rig: SsmRig) -> None:
    """A maintenance window that never opens, and a command that never runs, must not be reported as success."""
    assert code_of(rig.ssm.describe_maintenance_windows) in ("InvalidAction", "UnsupportedOperation")
    command = {"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-0123456789abcdef0"]}
    assert code_of(rig.ssm.send_command, **command) == "UnsupportedOperation"


# ---- CloudFormation ----


class Stack:
    """A stack with one document."""

    def __init__(self, cloud: Any) -> None:
        self.client = client(cloud, "cloudformation")
        self.name = f"ssm-{uuid.uuid4().hex[:8]}"

    def put(self, verb: str, **properties: Any) -> str:
        """Create or update the stack. Return the document's name."""
        document = {"Type": "AWS::SSM::Document", "Properties": {"DocumentType": "Automation", **properties}}
        body = {"Resources": {"Doc": document}, "Outputs": {"Name": {"Value": {"Ref": "Doc"}}}}
        getattr(self.client, f"{verb}_stack")(StackName=self.name, TemplateBody=json.dumps(body))
        self.await_status("COMPLETE")
        return self.described()["Outputs"][0]["OutputValue"]

    def described(self) -> dict[str, Any]:
        return self.client.describe_stacks(StackName=self.name)["Stacks"][0]

    def await_status(self, end: str) -> str:
        wait_until(lambda: not self.described()["StackStatus"].endswith("IN_PROGRESS"), "stack settled")
        status = self.described()["StackStatus"]
        assert status.endswith(end), self.described()
        return status


def is_gone(rig: SsmRig, name: str) -> bool:
    return rig.ssm.list_documents(Filters=[{"Key": "Name", "Values": [name]}])["DocumentIdentifiers"] == []


@pytest.mark.parametrize("content", [runbook(sleep(1)), SLOW_STORE], ids=["object", "yaml"])
def test_a_stack_makes_and_deletes_a_document(rig: SsmRig, content: Any) -> None:
    stack = Stack(rig.cloud)
    extra = {} if isinstance(content, dict) else {"DocumentFormat": "YAML"}
    name = stack.put("create", Content=content, Tags=[{"Key": "GameDay", "Value": "allowed"}], **extra)
    shown = rig.ssm.describe_document(Name=name)["Document"]
    assert {"Key": "GameDay", "Value": "allowed"} in shown["Tags"]
    stack.client.delete_stack(StackName=stack.name)
    wait_until(lambda: is_gone(rig, name), "the document is gone")


def test_an_update_replaces_the_document_under_a_new_name(rig: SsmRig) -> None:
    stack = Stack(rig.cloud)
    first = stack.put("create", Content=runbook(sleep(1)))
    second = stack.put("update", Content=runbook(sleep(2)))
    assert first != second
    assert "PT2S" in rig.ssm.get_document(Name=second)["Content"]
    wait_until(lambda: is_gone(rig, first), "the replaced document is gone")


def test_an_update_by_new_version_keeps_the_name(rig: SsmRig) -> None:
    stack = Stack(rig.cloud)
    name = f"doc-{uuid.uuid4().hex[:8]}"
    assert stack.put("create", Name=name, Content=runbook(sleep(1)), UpdateMethod="NewVersion") == name
    assert stack.put("update", Name=name, Content=runbook(sleep(2)), UpdateMethod="NewVersion") == name
    got = rig.ssm.get_document(Name=name)
    assert (got["DocumentVersion"], "PT2S" in got["Content"]) == ("2", True)


def test_a_stack_with_an_invalid_document_fails_with_the_reason(rig: SsmRig) -> None:
    stack = Stack(rig.cloud)
    body = {"Resources": {"Doc": {"Type": "AWS::SSM::Document", "Properties": {"Content": runbook(sleep(1))}}}}
    stack.client.create_stack(StackName=stack.name, TemplateBody=json.dumps(body))
    stack.await_status("ROLLBACK_COMPLETE")
    events = stack.client.describe_stack_events(StackName=stack.name)["StackEvents"]
    assert any("DocumentType Command" in each.get("ResourceStatusReason", "") for each in events)
