"""OpsItems through boto3: create, get, update, describe."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def ssm(cloud: Any) -> Any:
    return cloud.client("ssm")


def create(ssm: Any, **settings: Any) -> str:
    request = {"Title": "Game day failed", "Source": "gameday", "Description": "order doubled", "Severity": "2"}
    return ssm.create_ops_item(**{**request, **settings})["OpsItemId"]


def test_an_ops_item_is_stored_and_updated(ssm: Any) -> None:
    data = {"run": {"Value": "r1", "Type": "SearchableString"}, "zone": {"Value": "a", "Type": "String"}}
    item_id = create(ssm, OperationalData=data, Tags=[{"Key": "a", "Value": "b"}])
    item = ssm.get_ops_item(OpsItemId=item_id)["OpsItem"]
    assert (item["Title"], item["Status"], item["Severity"]) == ("Game day failed", "Open", "2")
    assert item["OperationalData"] == data
    tags = ssm.list_tags_for_resource(ResourceType="OpsItem", ResourceId=item_id)["TagList"]
    assert tags == [{"Key": "a", "Value": "b"}]
    ssm.update_ops_item(OpsItemId=item_id, Status="Resolved", Priority=2, OperationalDataToDelete=["zone"])
    item = ssm.get_ops_item(OpsItemId=item_id)["OpsItem"]
    assert (item["Status"], item["Priority"], item["Title"]) == ("Resolved", 2, "Game day failed")
    assert set(item["OperationalData"]) == {"run"}
    assert item["LastModifiedTime"] >= item["CreatedTime"]


def test_ops_items_are_found_by_filters(ssm: Any) -> None:
    source = f"gameday-{uuid.uuid4().hex[:8]}"
    first, second = create(ssm, Source=source), create(ssm, Source=source, Title="other")
    ssm.update_ops_item(OpsItemId=second, Status="Resolved")

    def ids(*filters: tuple[str, str, str]) -> list[str]:
        wanted = [{"Key": key, "Operator": operator, "Values": [value]} for key, operator, value in filters]
        found = ssm.describe_ops_items(OpsItemFilters=wanted)["OpsItemSummaries"]
        return [each["OpsItemId"] for each in found]

    assert ids(("Source", "Equal", source)) == [second, first]
    assert ids(("Source", "Equal", source), ("Status", "Equal", "Open")) == [first]
    assert ids(("Source", "Equal", source), ("Title", "Contains", "oth")) == [second]


def test_an_open_item_is_not_created_twice_for_one_cause(ssm: Any) -> None:
    cause = {"/aws/dedup": {"Value": f'{{"dedupString": "{uuid.uuid4()}"}}', "Type": "SearchableString"}}
    first = create(ssm, OperationalData=cause)
    with pytest.raises(ClientError, match=f"OpsItemAlreadyExistsException.*{first}"):
        create(ssm, OperationalData=cause, Title="other words")
    ssm.update_ops_item(OpsItemId=first, Status="Resolved")
    assert create(ssm, OperationalData=cause) != first
    assert create(ssm) != create(ssm)


@pytest.mark.parametrize("value", ["x", "[]", "{}"])
def test_a_deduplication_string_that_is_none_is_refused(ssm: Any, value: str) -> None:
    with pytest.raises(ClientError, match="/aws/dedup must have the value"):
        create(ssm, OperationalData={"/aws/dedup": {"Value": value, "Type": "SearchableString"}})


def test_unknown_items_and_unsupported_filters_are_refused(ssm: Any) -> None:
    with pytest.raises(ClientError, match="OpsItemNotFoundException"):
        ssm.get_ops_item(OpsItemId="oi-0123456789ab")
    with pytest.raises(ClientError, match="InvalidFilterKey"):
        ssm.describe_ops_items(OpsItemFilters=[{"Key": "ResourceId", "Operator": "Equal", "Values": ["x"]}])
