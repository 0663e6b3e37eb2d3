"""The server of the local AWS, started for real."""


def test_a_table_can_be_made_and_used(cloud):
    """MiniStack answers through our front."""
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName="server-smoke", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )  # fmt: skip
    dynamodb.put_item(TableName="server-smoke", Item={"pk": {"S": "a"}})
    assert dynamodb.get_item(TableName="server-smoke", Key={"pk": {"S": "a"}})["Item"] == {"pk": {"S": "a"}}
