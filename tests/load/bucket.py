"""An S3 bucket in memory, with the calls that a run's artifacts need, and a load in it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.load import LoadPlan
from kit.load.artifacts import Artifacts

PLAN = LoadPlan(api_url="http://127.0.0.1:9", markets=("ACME", "BOLT"), seed=3)
PROGRESS = {"t": 1.0, "state": "issuing", "p95_ms_last": 5.0} | dict.fromkeys(
    ("intended", "sent", "ok", "fail", "info", "dropped", "inflight", "unknown"), 2
)


class Bucket:
    """`put` lists the keys in the order in which they were written."""

    def __init__(self, page: int = 3) -> None:
        self.objects: dict[str, bytes] = {}
        self.put: list[str] = []
        self._page = page

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str = "", IfNoneMatch: str = "") -> None:
        if IfNoneMatch == "*" and Key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": "exists"}}, "PutObject")
        self.objects[Key] = Body
        self.put.append(Key)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.put_object(Bucket=bucket, Key=key, Body=Path(path).read_bytes())

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_bytes(self.objects[key])

    def get_paginator(self, operation: str) -> Bucket:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        found = [{"Key": key, "Size": len(self.objects[key])} for key in sorted(self.objects) if key.startswith(Prefix)]
        return [{"Contents": found[at : at + self._page]} for at in range(0, len(found), self._page)] or [{}]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def artifacts(bucket: Bucket) -> Artifacts:
    """The artifacts of one run in it."""
    return Artifacts(s3=bucket, bucket="artifacts", run_id="run-1")
