"""Deliver an experiment's log records to a CloudWatch log stream, to an object in S3, or to both, under AWS's names."""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ministack.services import cloudwatch_logs, s3

from kit.local.fis.errors import ConfigurationFailure
from kit.local.fis.experiments import Experiment

# The limit on the records of one experiment that wait for S3, far above what 20 actions write.
RECORDS_KEPT_MAX = 10_000
HASH_CHARS = 8

log = logging.getLogger(__name__)


def open_log(experiment: Experiment) -> None:
    """Make the log stream. Raises ConfigurationFailure when the log group or the bucket does not exist."""
    bucket, _ = _bucket(experiment)
    if bucket and s3._buckets.get(bucket) is None:
        raise ConfigurationFailure(f"log bucket {bucket} does not exist")
    group = _log_group(experiment)
    if group is None:
        return
    status, _, _ = cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": _stream(experiment)})
    if status != 200:
        raise ConfigurationFailure(f"log group {group} does not exist")


def write(experiment: Experiment, record: Mapping[str, Any]) -> None:
    """Put the record into the log stream at once, and keep it for S3."""
    line = json.dumps(record)
    if _bucket(experiment)[0] and len(experiment.log_lines) < RECORDS_KEPT_MAX:
        experiment.log_lines.append(line)
    group = _log_group(experiment)
    if group is not None:
        event = {"timestamp": int(datetime.now(tz=UTC).timestamp() * 1000), "message": line}
        cloudwatch_logs._put_log_events(
            {"logGroupName": group, "logStreamName": _stream(experiment), "logEvents": [event]}
        )


def deliver(experiment: Experiment) -> None:
    """Put the kept records into the bucket, when the experiment has ended (AWS does it within minutes)."""
    bucket, prefix = _bucket(experiment)
    if not bucket:
        return
    body = "".join(f"{line}\n" for line in experiment.log_lines).encode()
    key = _key(experiment, prefix, hashlib.sha256(body).hexdigest()[:HASH_CHARS])
    status, *_ = s3._put_object(bucket, key, body, {"content-type": "text/plain"})
    if status != 200:
        log.warning("fis log not delivered", extra={"bucket": bucket, "key": key, "status": status})


def _key(experiment: Experiment, prefix: str, digest: str) -> str:
    now = datetime.now(tz=UTC)
    account, region = experiment.account_id, experiment.region
    folder = f"AWSLogs/{account}/fis/{region}/{experiment.id}/{now:%Y/%m/%d}"
    name = f"{account}_awsfislogs_{region}_{experiment.id}_{now:%Y%m%d%H%M}Z_{digest}.log"
    return "/".join(part for part in (prefix.strip("/"), folder, name) if part)


def _stream(experiment: Experiment) -> str:
    return f"/aws/fis/{experiment.id}"


def _configuration(experiment: Experiment) -> Mapping[str, Any]:
    return experiment.template.get("logConfiguration") or {}


def _bucket(experiment: Experiment) -> tuple[str, str]:
    """Return the bucket and the prefix; both are empty without a bucket."""
    found = _configuration(experiment).get("s3Configuration") or {}
    return found.get("bucketName", ""), found.get("prefix", "")


def _log_group(experiment: Experiment) -> str | None:
    arn = (_configuration(experiment).get("cloudWatchLogsConfiguration") or {}).get("logGroupArn")
    return arn.split(":")[6] if arn else None
