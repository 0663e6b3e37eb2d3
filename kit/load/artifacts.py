"""Keep the files of one run in S3, below `s3://<bucket>/<run>/`, where its tasks and its state machine find them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from kit.aws.client_errors import cloud_errors, error_code
from kit.errors import EvidenceMissing

JSON_BYTES_MAX = 1_000_000
OBJECTS_MAX = 100_000
DOWNLOAD_BYTES_MAX = 64 << 30
NOT_THERE = frozenset({"NoSuchKey", "404"})
THERE_ALREADY = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """The objects of one run. Keys are relative to the run. Every method raises CloudError if S3 fails."""

    s3: Any
    bucket: str
    run_id: str

    def key(self, name: str) -> str:
        return f"{self.run_id}/{name}"

    def url(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.key(name)}"

    def put_json(self, name: str, value: dict[str, Any]) -> None:
        with cloud_errors(f"writing {self.url(name)}"):
            self._put(name, value)

    def claim(self, name: str, value: dict[str, Any]) -> bool:
        """Write the object unless there is another; returns whether it holds `value` now.

        A repeated call whose first answer was lost finds its own value, so `value` must be unlike anybody else's.
        """
        with cloud_errors(f"writing {self.url(name)}"):
            try:
                self._put(name, value, IfNoneMatch="*")
            except ClientError as error:
                if error_code(error) not in THERE_ALREADY:
                    raise
                return self.get_json(name) == value
        return True

    def _put(self, name: str, value: dict[str, Any], **conditions: str) -> None:
        self.s3.put_object(
            Bucket=self.bucket,
            Key=self.key(name),
            Body=json.dumps(value).encode(),
            ContentType="application/json",
            **conditions,
        )

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return the object; None if it is not there. Raises EvidenceMissing if it is no JSON object."""
        with cloud_errors(f"reading {self.url(name)}"):
            try:
                answer = self.s3.get_object(Bucket=self.bucket, Key=self.key(name))
            except ClientError as error:
                if error_code(error) in NOT_THERE:
                    return None
                raise
            body = answer["Body"].read(JSON_BYTES_MAX + 1)
        if len(body) > JSON_BYTES_MAX:
            raise EvidenceMissing(f"{self.url(name)} is larger than {JSON_BYTES_MAX} bytes")
        try:
            value = json.loads(body)
        except ValueError as error:
            raise EvidenceMissing(f"{self.url(name)} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise EvidenceMissing(f"{self.url(name)} holds a {type(value).__name__}, expected an object")
        return value

    def upload(self, path: Path, name: str) -> None:
        """Upload one file."""
        with cloud_errors(f"writing {self.url(name)}"):
            self.s3.upload_file(str(path), self.bucket, self.key(name))

    def fetch(self, name: str, path: Path) -> bool:
        """Download one object into a file; returns whether it was there."""
        with cloud_errors(f"reading {self.url(name)}"):
            try:
                self.s3.download_file(self.bucket, self.key(name), str(path))
            except ClientError as error:
                if error_code(error) in NOT_THERE:
                    return False
                raise
        return True

    def download(self, name: str, folder: Path) -> int:
        """Download all objects below `name` into `folder`, which keeps their folders; returns how many.

        Raises EvidenceMissing for too many or too large objects, and for a key that is no plain path.
        """
        prefix, count, size = self.key(name).rstrip("/") + "/", 0, 0
        for key, object_bytes in self._listed(prefix):
            inside = PurePosixPath(key.removeprefix(prefix))
            if not all(_NAME.fullmatch(part) for part in inside.parts):
                raise EvidenceMissing(f"s3://{self.bucket}/{key} is no name of a run's file")
            count, size = count + 1, size + object_bytes
            if count > OBJECTS_MAX or size > DOWNLOAD_BYTES_MAX:
                limits = f"{OBJECTS_MAX} objects or {DOWNLOAD_BYTES_MAX >> 30} GiB"
                raise EvidenceMissing(f"{self.url(name)} holds more than {limits}")
            path = folder / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with cloud_errors(f"reading s3://{self.bucket}/{key}"):
                self.s3.download_file(self.bucket, key, str(path))
        return count

    def _listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        with cloud_errors(f"listing s3://{self.bucket}/{prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"], int(entry["Size"])
