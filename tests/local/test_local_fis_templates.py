"""FIS's control plane through boto3: templates, catalogue, tags, lever, pagination, and what it refuses."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.fis_rig import ROLE, FisRig, disrupt, stop_on, subnets_by_tag, wait_action
from tests.local.signing import signed_headers
from tests.polling import wait_until


def refused(call: Callable[[], Any], code: str = "ValidationException") -> str:
    """The message of the error that the call raises."""
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def test_a_template_is_kept_updated_and_deleted(rig: FisRig) -> None:
    """Create, get, update a part, and delete. Times and options have AWS's format."""
    template_id = rig.template(tags={"App": "x"})
    template = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    assert template_id.startswith("EXT")
    assert template["arn"] == f"arn:aws:fis:us-east-1:000000000000:experiment-template/{template_id}"
    assert template["experimentOptions"] == {
        "accountTargeting": "single-account", "emptyTargetResolutionMode": "fail",
    }  # fmt: skip
    updated = rig.fis.update_experiment_template(
        id=template_id, description="new", experimentOptions={"emptyTargetResolutionMode": "skip"}
    )["experimentTemplate"]
    assert (updated["description"], updated["actions"]) == ("new", template["actions"])
    assert updated["experimentOptions"]["emptyTargetResolutionMode"] == "skip"
    assert updated["lastUpdateTime"] > template["creationTime"]
    rig.fis.delete_experiment_template(id=template_id)
    refused(lambda: rig.fis.get_experiment_template(id=template_id), "ResourceNotFoundException")


ALARM = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:a"


def of_actions(**actions: Any) -> dict[str, Any]:
    """A template's settings with these actions and one target of subnets."""
    return {"actions": actions, "targets": {"Subnets": subnets_by_tag("x")}}


# What the message says, and the template. tests/fis_rules has a template for every rule.
BAD_TEMPLATES: dict[str, dict[str, Any]] = {
    "at least one action": {"actions": {}},
    "must be one of": of_actions(a=disrupt(scope="moon")),
    "circle": of_actions(a=wait_action(startAfter=["b"]), b=wait_action(startAfter=["a"])),
    "must be aws:cloudwatch:alarm": {"stopConditions": [{"source": "aws:moon"}]},
    "stands alone": {"stopConditions": [{"source": "none"}, *stop_on(ALARM)]},
    "IAM role": {"roleArn": "arn:aws:iam::000000000000:user/me"},
    "no parameter zone": {"targets": {"t": subnets_by_tag("x", parameters={"zone": "a"})}},
    "logSchemaVersion": {"logConfiguration": {"logSchemaVersion": 3}},
}


@pytest.mark.parametrize(("words", "settings"), BAD_TEMPLATES.items(), ids=BAD_TEMPLATES)
def test_the_message_says_what_is_wrong_with_a_template(rig: FisRig, words: str, settings: dict[str, Any]) -> None:
    """It comes with a ValidationException."""
    assert words in refused(lambda: rig.template(**settings))


def test_an_update_is_validated_as_a_whole(rig: FisRig) -> None:
    """An update that removes a target which an action uses is refused and changes nothing."""
    template_id = rig.template(actions={"a": disrupt()}, targets={"Subnets": subnets_by_tag("x")})
    refused(lambda: rig.fis.update_experiment_template(id=template_id, targets={}))
    assert rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]["targets"]


def test_quotas_answer_402(rig: FisRig) -> None:
    """The quotas limit actions, parallel actions, stop conditions and the length of an experiment."""
    code = "ServiceQuotaExceededException"
    many = {f"a{i}": wait_action() for i in range(21)}
    refused(lambda: rig.template(actions=many), code)
    parallel = {f"a{i}": wait_action() for i in range(11)}
    assert "parallel" in refused(lambda: rig.template(actions=parallel), code)
    refused(lambda: rig.template(stopConditions=stop_on(*(f"{ALARM}{i}" for i in range(6)))), code)
    long = {"a": wait_action(7 * 3600), "b": wait_action(7 * 3600, startAfter=["a"])}
    refused(lambda: rig.template(actions=long), code)


def test_errors_carry_the_code_in_the_header(rig: FisRig) -> None:
    """SDKs of other languages read `x-amzn-errortype`."""
    path = "/experimentTemplates/EXTnothing"
    headers = signed_headers(rig.cloud, "fis", method="GET", path=path)
    request = urllib.request.Request(f"{rig.cloud.endpoint}{path}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert (caught.value.code, caught.value.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert json.loads(caught.value.read())["__type"] == "ResourceNotFoundException"


def test_a_client_token_makes_create_and_start_idempotent(rig: FisRig) -> None:
    """The same token and request return the same object. The same token with another request is a conflict."""

    def create(description: str) -> str:
        return rig.template(clientToken=f"token-{id(rig)}", description=description)

    template_id = create("one")
    assert create("one") == template_id
    refused(lambda: create("two"), "ConflictException")
    started = {rig.start(template_id, clientToken="start-once") for _ in range(2)}
    assert len(started) == 1
    rig.end(started.pop())


def test_lists_are_paged(rig: FisRig) -> None:
    """Each item is listed once for every page size, and a wrong token is refused."""
    ids = {rig.template() for _ in range(5)}
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = rig.fis.list_experiment_templates(maxResults=2, **token)
        assert len(page["experimentTemplates"]) <= 2
        found += [each["id"] for each in page["experimentTemplates"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert ids <= set(found)
    assert len(found) == len(set(found))
    refused(lambda: rig.fis.list_experiment_templates(nextToken="nonsense"))
    refused(lambda: rig.fis.list_experiment_templates(maxResults=101))


def test_the_catalogue_lists_every_action_and_type(rig: FisRig) -> None:
    """GetAction returns each listed action, and the types of its targets are listed."""
    actions = rig.fis.list_actions()["actions"]
    types = {each["resourceType"] for each in rig.fis.list_target_resource_types()["targetResourceTypes"]}
    assert len(actions) >= 50
    for action in actions:
        assert {slot["resourceType"] for slot in action.get("targets", {}).values()} <= types
    stress = rig.fis.get_action(id="aws:ecs:task-cpu-stress")["action"]
    assert stress["parameters"]["duration"]["required"] is True
    assert stress["parameters"]["percent"]["required"] is False
    task = rig.fis.get_target_resource_type(resourceType="aws:ecs:task")["targetResourceType"]
    assert set(task["parameters"]) == {"cluster", "service"}
    refused(lambda: rig.fis.get_action(id="aws:no:pe"), "ResourceNotFoundException")


def test_any_listed_action_makes_a_template(rig: FisRig) -> None:
    """A template with the required parameters and targets of a listed action is accepted."""
    samples = {
        "duration": "PT1M", "percent": "50", "count": "1", "text": "x", "boolean": "true", "list": "a,b", "port": "80",
        "arn": "arn:aws:ssm:us-east-1:000000000000:document/d", "arns": ALARM, "milliseconds": "10", "decimal": "1.5",
    }  # fmt: skip
    for summary in rig.fis.list_actions()["actions"]:
        action = rig.fis.get_action(id=summary["id"])["action"]
        parameters = {}
        for name, parameter in action.get("parameters", {}).items():
            kind = parameter["description"].rpartition("(")[2].rstrip(")")
            if parameter["required"]:
                parameters[name] = kind.removeprefix("list:").split("|")[0] if "|" in kind else samples[kind]
        slots = action.get("targets", {})
        pod = {"clusterIdentifier": "c", "namespace": "n", "selectorType": "labelSelector", "selectorValue": "a=b"}
        targets = {
            slot: {
                "resourceType": each["resourceType"], "selectionMode": "ALL",
                **({"parameters": pod} if each["resourceType"] == "aws:eks:pod" else {"resourceTags": {"a": "b"}}),
            }
            for slot, each in slots.items()
        }  # fmt: skip
        template_id = rig.template(
            targets=targets,
            actions={"a": {"actionId": action["id"], "parameters": parameters, "targets": {s: s for s in slots}}},
        )
        stored = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]["actions"]["a"]
        assert (stored["actionId"], stored.get("parameters", {})) == (action["id"], parameters)
        rig.fis.delete_experiment_template(id=template_id)


def test_tags(rig: FisRig) -> None:
    """On templates and on experiments, by ARN."""
    template_id = rig.template(tags={"a": "1"})
    experiment = rig.fis.start_experiment(experimentTemplateId=template_id, tags={"run": "7"})["experiment"]
    template = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    rig.fis.tag_resource(resourceArn=template["arn"], tags={"b": "2"})
    rig.fis.untag_resource(resourceArn=template["arn"], tagKeys=["a"])
    assert rig.fis.list_tags_for_resource(resourceArn=template["arn"])["tags"] == {"b": "2"}
    assert rig.fis.list_tags_for_resource(resourceArn=experiment["arn"])["tags"] == {"run": "7"}
    refused(lambda: rig.fis.list_tags_for_resource(resourceArn=template["arn"] + "x"), "ResourceNotFoundException")
    rig.end(experiment["id"])


def test_target_accounts_are_stored_and_their_experiments_refused(rig: FisRig) -> None:
    """The local AWS has one account. A multi-account template can be stored but not started."""
    single = rig.template()
    account = {"accountId": "111111111111", "roleArn": ROLE}
    refused(lambda: rig.fis.create_target_account_configuration(experimentTemplateId=single, **account))
    template_id = rig.template(experimentOptions={"accountTargeting": "multi-account"})
    rig.fis.create_target_account_configuration(experimentTemplateId=template_id, **account)
    conflict = lambda: rig.fis.create_target_account_configuration(experimentTemplateId=template_id, **account)  # noqa: E731
    refused(conflict, "ConflictException")
    where = {"experimentTemplateId": template_id, "accountId": "111111111111"}
    rig.fis.update_target_account_configuration(**where, description="d")
    assert rig.fis.get_target_account_configuration(**where)["targetAccountConfiguration"]["description"] == "d"
    listed = rig.fis.list_target_account_configurations(experimentTemplateId=template_id)
    assert len(listed["targetAccountConfigurations"]) == 1
    shown = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    assert shown["targetAccountConfigurationsCount"] == 1
    assert "single-account" in refused(lambda: rig.start(template_id))
    rig.fis.delete_target_account_configuration(**where)
    refused(lambda: rig.fis.get_target_account_configuration(**where), "ResourceNotFoundException")


def test_cloudformation_makes_changes_and_deletes_a_template(rig: FisRig) -> None:
    """Properties are PascalCase and Ref is the id. A change keeps the id, and an unknown property fails the stack."""
    cloudformation = rig.cloud.client("cloudformation")

    def body(duration: str, **more: Any) -> str:
        properties = {
            "Description": "cfn", "RoleArn": ROLE, "StopConditions": [{"Source": "none"}], "Tags": {"App": "x"},
            "Targets": {"Zone": {
                "ResourceType": "aws:ec2:subnet", "ResourceTags": {"Group": "g"}, "SelectionMode": "ALL",
                "Filters": [{"Path": "AvailabilityZone", "Values": ["us-east-1a"]}],
            }},
            "Actions": {
                "cut": {
                    "ActionId": "aws:network:disrupt-connectivity", "Targets": {"Subnets": "Zone"},
                    "Parameters": {"duration": duration, "scope": "all"},
                },
                "then": {"ActionId": "aws:fis:wait", "Parameters": {"duration": "PT1M"}, "StartAfter": ["cut"]},
            },
            "ExperimentOptions": {"AccountTargeting": "single-account", "EmptyTargetResolutionMode": "skip"},
            **more,
        }  # fmt: skip
        resource = {"Type": "AWS::FIS::ExperimentTemplate", "Properties": properties}
        return json.dumps({"Resources": {"T": resource}, "Outputs": {"Id": {"Value": {"Ref": "T"}}}})

    def settle(name: str, status: str) -> dict[str, Any]:
        def stack() -> dict[str, Any]:
            return cloudformation.describe_stacks(StackName=name)["Stacks"][0]

        wait_until(lambda: stack()["StackStatus"] == status, status)
        return stack()

    cloudformation.create_stack(StackName="fis-cfn", TemplateBody=body("PT2M"))
    template_id = settle("fis-cfn", "CREATE_COMPLETE")["Outputs"][0]["OutputValue"]
    template = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    assert template["targets"]["Zone"]["filters"] == [{"path": "AvailabilityZone", "values": ["us-east-1a"]}]
    assert template["actions"]["then"]["startAfter"] == ["cut"]
    assert template["tags"]["App"] == "x"
    assert template["tags"]["aws:cloudformation:stack-name"] == "fis-cfn"
    cloudformation.update_stack(StackName="fis-cfn", TemplateBody=body("PT3M"))
    assert settle("fis-cfn", "UPDATE_COMPLETE")["Outputs"][0]["OutputValue"] == template_id
    template = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    assert template["actions"]["cut"]["parameters"]["duration"] == "PT3M"
    cloudformation.delete_stack(StackName="fis-cfn")
    wait_until(lambda: _is_gone(rig, template_id), "the template is gone")
    cloudformation.create_stack(StackName="fis-bad", TemplateBody=body("PT2M", Colour="red"))
    settle("fis-bad", "ROLLBACK_COMPLETE")


def _is_gone(rig: FisRig, template_id: str) -> bool:
    try:
        rig.fis.get_experiment_template(id=template_id)
    except ClientError:
        return True
    return False
