"""Serve HTTP as the task of the FIS tests: answer who it is.

`/dynamodb`, `/sqs` and `/sqs@eu-west-1` call AWS first, under the task's own key. `/burn` computes for 20 ms, and
`/child` starts its child again if it was killed.
"""

import http.client
import http.server
import json
import os
import subprocess
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

child = subprocess.Popen(["sleep", "600"])


def renew():
    global child
    if child.poll() is not None:
        child = subprocess.Popen(["sleep", "600"])


task = os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2]
KEYS = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
TARGETS = {"dynamodb": "DynamoDB_20120810.ListTables", "sqs": "AmazonSQS.ListQueues"}


def call(service, region):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    headers = {"X-Amz-Target": TARGETS[service], "Content-Type": "application/x-amz-json-1.0"}
    request = AWSRequest(method="POST", url=f"{endpoint}/", data="{}", headers=headers)
    SigV4Auth(KEYS, service, region).add_auth(request)
    aws = http.client.HTTPConnection(endpoint.rpartition("/")[2], timeout=30)
    aws.request("POST", "/", "{}", dict(request.headers.items()))
    answer = aws.getresponse()
    answer.read()
    aws.close()
    return answer.status


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, _, region = self.path.strip("/").partition("@")
        status = call(name, region or "us-east-1") if name in TARGETS else 200
        if name == "child":
            renew()
        if name == "burn":
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass
        body = json.dumps({"task": task, "port": os.environ["PORT"], "child": child.poll()}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
