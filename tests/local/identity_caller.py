"""Put one DynamoDB item after the other, giving each call up after half a second."""

import contextlib
import os
import time

import boto3
import botocore.exceptions
from botocore.config import Config

dynamodb = boto3.client(
    "dynamodb", config=Config(read_timeout=0.5, connect_timeout=0.5, retries={"total_max_attempts": 1})
)
number = 0
while True:
    number += 1
    with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        dynamodb.put_item(TableName=os.environ["TABLE"], Item={"pk": {"S": f"{number:06d}"}})
    time.sleep(0.02)
