"""Measure how a standing local AWS grows: `python -m tests.bench memory`.

Each cycle does what a run does to it: PaperBroker's stack is created, takes orders, is hit by an experiment, and is
deleted. MEMORY_CYCLES sets the number of cycles. Prints the server's resident memory after each. Nothing is asserted,
because machines differ; `tests/local/test_local_memory.py` asserts the same for a small stack.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

import psutil

from kit import aws, build, deploy, scenarios
from kit.model import Deployment

CYCLES = int(os.environ.get("MEMORY_CYCLES", "30"))
ORDERS = 200
FAULT_S = 2
DEPLOY_S_MAX = 180
SOURCE = Path(__file__).parents[2] / "paperbroker"


def send_orders(deployment: Deployment, count: int) -> int:
    """Send orders one by one; return how many were accepted."""
    accepted = 0
    for number in range(count):
        order = {
            "clientId": f"c{number % 7}", "idempotencyKey": uuid.uuid4().hex, "orderId": uuid.uuid4().hex,
            "symbol": "ACME", "side": ("BUY", "SELL")[number % 2], "type": "LIMIT", "qty": 1, "price": 100,
        }  # fmt: skip
        request = urllib.request.Request(
            f"{deployment.api_url}/orders", json.dumps(order).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                accepted += answer.status == 201
        except OSError:
            continue
    return accepted


def cycle(session: aws.Session, image_uri: str, number: int) -> int:
    """Do what one run does, and return the number of accepted orders."""
    scenario = scenarios.get("az-loss")
    deployment = deploy.deploy(
        session, image_uri=image_uri, run_id=f"memory-{number}", template=SOURCE / "deploy" / "stack.yaml",
        parameters=scenario.stack_parameters(fault_duration_s=FAULT_S), timeout_s=DEPLOY_S_MAX,
    )  # fmt: skip
    fis = session.client("fis")
    template = fis.list_experiment_templates()["experimentTemplates"][0]["id"]
    fis.start_experiment(experimentTemplateId=template)
    accepted = send_orders(deployment, ORDERS)
    time.sleep(FAULT_S)
    deploy.tear_down(session, deployment.stack_name, timeout_s=DEPLOY_S_MAX)
    return accepted


def main() -> None:
    """Print one line for each cycle."""
    with tempfile.TemporaryDirectory() as folder, aws.start_local(Path(folder) / "state") as cloud:
        session, server = cloud.session(), psutil.Process(cloud.pid)
        image = build.build_image(session, source=SOURCE, change=None, changes_dir=SOURCE / "changes")
        print(f"at the start: {server.memory_info().rss / 1e6:.0f} MB")
        for number in range(1, CYCLES + 1):
            accepted = cycle(session, image.uri, number)
            print(f"cycle {number}: {server.memory_info().rss / 1e6:.0f} MB, {accepted} orders", flush=True)


if __name__ == "__main__":
    main()
