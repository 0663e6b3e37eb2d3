"""Write a heartbeat to a table, under its own identity, as often as it can."""

import os
import time

import boto3
from botocore.config import Config

table = boto3.client("dynamodb", config=Config(read_timeout=30, retries={"total_max_attempts": 1}))
while True:
    now = str(time.time())
    item = {"pk": {"S": os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2]}, "at": {"N": now}}
    table.put_item(TableName=os.environ["TABLE"], Item=item)
    time.sleep(0.1)
