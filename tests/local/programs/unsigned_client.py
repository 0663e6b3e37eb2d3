"""Try to call the local AWS without its secret. Arguments: the endpoint, the file with the secret."""

import json
import os
import sys
import urllib.error
import urllib.request

CALLS = (
    ("AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition", {"family": "evil", "containerDefinitions": []}),
    ("AmazonSQS.CreateQueue", {"QueueName": "evil"}),
)

endpoint, secret_file = sys.argv[1:]
found: list[object] = [os.getuid()]
for target, body in CALLS:
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, json.dumps(body).encode(), headers), timeout=5)
        found.append("served")
    except urllib.error.HTTPError as error:
        found.append(error.code)
try:
    with open(secret_file, encoding="utf-8") as file:
        found.append(file.read())
except PermissionError:
    found.append("hidden")
sys.stdout.write(json.dumps(found))
