"""Do what an event asks for: answer, fail, print, sleep, exit, use memory, call AWS."""

import logging
import os
import signal
import subprocess
import sys
import time
import urllib.request

import boto3
from botocore.config import Config

RUNS = []


class MyError(Exception):
    pass


def handler(event, context):
    RUNS.append(context.aws_request_id)
    do = event.get("do", "answer")
    if do == "answer":
        return {
            "event": event, "runs": len(RUNS), "pid": os.getpid(), "arn": context.invoked_function_arn,
            "version": context.function_version, "left_ms": context.get_remaining_time_in_millis(),
            "home": os.environ["HOME"], "stream": context.log_stream_name, "memory": context.memory_limit_in_mb,
        }  # fmt: skip
    if do == "raise":
        raise MyError(event["words"])
    if do == "print":
        print(event["words"])  # noqa: T201  # what a function prints is its log
        logging.getLogger().warning("told by logging")
        subprocess.run([sys.executable, "-c", "print('told by a child')"], check=True)
        return None
    if do == "sleep":
        time.sleep(event["s"])
    if do == "exit":
        sys.exit(event["code"])
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "eat":
        eaten = bytearray(event["mb"] * 1024 * 1024)
        return len(eaten)
    if do == "set":
        return {1, 2}
    if do == "large":
        return "x" * event["size"]
    if do == "leave":
        # A process that would outlive its function.
        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        return {"child": child.pid, "pid": os.getpid()}
    if do == "get":
        with urllib.request.urlopen(event["url"], timeout=1) as answer:
            return answer.status
    if do == "who":
        settings = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1})
        identity = boto3.client("sts", config=settings).get_caller_identity()
        return {"arn": identity["Arn"], "account": identity["Account"], "key": os.environ["AWS_ACCESS_KEY_ID"]}
    return None
