"""Make functions in a cloud, and look at what they leave."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import psutil

ROLE = "arn:aws:iam::000000000000:role/service-role/tried"
PROGRAM = Path(__file__).with_name("programs") / "tried_function.py"


def archive(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("app.py", source)
    return buffer.getvalue()


class Function:
    """A function with a name of its own. It runs programs/tried_function.py unless `source` is given."""

    def __init__(self, cloud: Any, source: str | None = None, handler: str = "app.handler", **settings: Any) -> None:
        self.cloud = cloud
        self.name = f"f-{uuid.uuid4().hex[:8]}"
        self.client = cloud.client("lambda")
        code = archive(PROGRAM.read_text(encoding="utf-8") if source is None else source)
        given = {"Runtime": "python3.11", "Role": ROLE, "Handler": handler, "Code": {"ZipFile": code}, "Timeout": 10}
        self.arn = self.client.create_function(FunctionName=self.name, **{**given, **settings})["FunctionArn"]

    def invoke(self, event: Any = None, **more: Any) -> tuple[Any, str]:
        """Invoke the function; return the answer and the kind of error."""
        answer = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event or {}), **more)
        return json.loads(answer["Payload"].read() or b"null"), answer.get("FunctionError", "")

    def log(self) -> list[str]:
        """Return the lines of all its log streams."""
        logs = self.cloud.client("logs")
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{self.name}")["events"]
        return [each["message"] for each in events]

    def metric(self, name: str, statistic: str = "Sum", dimensions: dict[str, str] | None = None) -> float:
        """Return the statistic of a metric over the last minutes; 0 without data."""
        given = {"FunctionName": self.name} if dimensions is None else dimensions
        now = time.time()
        points = self.cloud.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=name, StartTime=now - 600, EndTime=now + 60, Period=60,
            Dimensions=[{"Name": key, "Value": value} for key, value in given.items()], Statistics=[statistic],
        )["Datapoints"]  # fmt: skip
        values = [point[statistic] for point in points]
        return sum(values) if statistic in ("Sum", "SampleCount") else max(values, default=0.0)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
