"""Templates, experiments and levers outlive the server; logs reach S3; reports are refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.aws import start_local, start_local_detached, stop_local
from kit.local.fis.control_plane import STACK_ID, ControlPlane
from kit.local.fis.journal import Journal
from kit.local.fis.store import SETTINGS_FILE
from tests.local.conftest import RunningCloud
from tests.local.fis_rig import FisRig, disrupt, subnets_by_tag, wait_action
from tests.polling import wait_until

pytestmark = pytest.mark.slow

DASHBOARD = "arn:aws:cloudwatch::000000000000:dashboard/d"


@contextmanager
def running(tmp_path: Path) -> Iterator[FisRig]:
    """A cloud on a state dir that it does not remove."""
    state_dir, log = tmp_path / "state", tmp_path / "log"
    state_dir.mkdir(exist_ok=True)
    (state_dir / "kept").touch()  # a folder that held something is not removed with its cloud
    with start_local(state_dir, log=log) as cloud:
        yield FisRig(RunningCloud.of(cloud, log))


def test_templates_and_experiments_outlive_the_server(tmp_path: Path) -> None:
    """This also holds for a killed server: ended experiments keep their state, running ones are shown as stopped."""
    with running(tmp_path) as rig:
        tag, _ = rig.subnets("a")
        cut = {"actions": {"cut": disrupt(seconds=0.1)}, "targets": {"Subnets": subnets_by_tag(tag)}}
        gone, kept = rig.template(), rig.template(**cut, tags={"App": "x"})
        rig.fis.delete_experiment_template(id=gone)
        template = rig.fis.get_experiment_template(id=kept)["experimentTemplate"]
        done = rig.end(rig.start(kept, tags={"Run": "1"}))
        targets = rig.fis.list_experiment_resolved_targets(experimentId=done["id"])["resolvedTargets"]
        interrupted = rig.running(actions={"wait": wait_action(60)})
        os.kill(rig.cloud.pid, signal.SIGKILL)
    with running(tmp_path) as rig:
        assert gone not in [each["id"] for each in rig.fis.list_experiment_templates()["experimentTemplates"]]
        assert rig.fis.get_experiment_template(id=kept)["experimentTemplate"] == template
        assert rig.get(done["id"]) == done
        again = rig.fis.list_experiment_resolved_targets(experimentId=done["id"])["resolvedTargets"]
        assert again == targets
        assert rig.get(interrupted)["state"]["status"] == "stopped"
        assert "was killed" in rig.get(interrupted)["state"]["reason"]
        assert rig.run()["state"]["status"] == "completed"


@pytest.mark.parametrize("status", ["engaged", "engaging"])
def test_an_engaged_lever_stays_engaged_over_a_restart(tmp_path: Path, status: str) -> None:
    """A lever that was still engaging is engaged after the restart, because no experiment runs any more."""
    services: Any = SimpleNamespace(kept_dir=tmp_path)
    before, after = (ControlPlane(services, Journal(tmp_path)) for _ in range(2))
    before.lever()["state"] = {"status": status, "reason": "real incident"}
    before.save()
    after.load()
    assert after.lever()["state"] == {"status": "engaged", "reason": "real incident"}


def test_a_detached_cloud_hands_templates_experiments_and_the_lever_on(tmp_path: Path) -> None:
    """`gameday cloud down` and a killed server lose all else. Templates of stacks go with their stacks."""
    try:
        rig = detached(tmp_path)
        kept = rig.template(tags={"App": "x"})
        stacked = rig.template(tags={"App": "stacked"})
        done = rig.end(rig.start(kept))["id"]
        interrupted = rig.running(actions={"wait": wait_action(60)})
        rig.cloud.client("sqs").create_queue(QueueName="gone")
        move_lever(rig, "engaged")
        assert rig.end(interrupted)["state"]["status"] == "stopped"
        move_lever(rig, "disengaged")
        interrupted = rig.running(actions={"wait": wait_action(60)})
        os.kill(rig.cloud.pid, signal.SIGKILL)
        wait_until(lambda: not (tmp_path / "cloud").exists(), "the folder is removed")
        mark_as_stacked(tmp_path, stacked)
        rig = detached(tmp_path)
        assert template_ids(rig) >= {kept} and stacked not in template_ids(rig)
        assert [rig.status(each) for each in (done, interrupted)] == ["completed", "stopped"]
        assert "was killed" in rig.get(interrupted)["state"]["reason"]
        assert rig.cloud.client("sqs").list_queues().get("QueueUrls", []) == []
        move_lever(rig, "engaged")
        assert stop_local(tmp_path)
        rig = detached(tmp_path)
        assert rig.fis.get_safety_lever(id="default")["safetyLever"]["state"]["status"] == "engaged"
        refused = rig.end(rig.start(kept))
        assert refused["state"]["status"] == "cancelled", refused
    finally:
        stop_local(tmp_path)


def detached(folder: Path) -> FisRig:
    started = start_local_detached(folder)
    return FisRig(RunningCloud.of(started, folder / "server.log"))


def move_lever(rig: FisRig, status: str) -> None:
    rig.fis.update_safety_lever_state(id="default", state={"status": status, "reason": "real incident"})
    wait_until(lambda: rig.fis.get_safety_lever(id="default")["safetyLever"]["state"]["status"] == status, status)


def template_ids(rig: FisRig) -> set[str]:
    return {each["id"] for each in rig.fis.list_experiment_templates()["experimentTemplates"]}


def mark_as_stacked(folder: Path, template_id: str) -> None:
    """Let a saved template look as if CloudFormation had made it."""
    path = folder / "kept" / SETTINGS_FILE
    saved = json.loads(path.read_text())
    for key, template in saved["templates"]:
        if key[2] == template_id:
            template["tags"][STACK_ID] = "arn:aws:cloudformation:us-east-1:000000000000:stack/s/1"
    path.write_text(json.dumps(saved))


def test_logs_are_put_into_a_bucket_when_the_experiment_has_ended(cloud: Any) -> None:
    """The bucket gets one object with AWS's name and every record of the experiment."""
    rig, s3 = FisRig(cloud), cloud.client("s3")
    s3.create_bucket(Bucket="fis-logs")
    where = {"bucketName": "fis-logs", "prefix": "runs"}
    experiment = rig.run(logConfiguration={"logSchemaVersion": 2, "s3Configuration": where})
    assert experiment["state"]["status"] == "completed"
    (found,) = s3.list_objects_v2(Bucket="fis-logs")["Contents"]
    folder, _, name = found["Key"].rpartition("/")
    started = experiment["startTime"]
    assert folder.startswith(f"runs/AWSLogs/000000000000/fis/us-east-1/{experiment['id']}/{started:%Y}/")
    assert name.startswith(f"000000000000_awsfislogs_us-east-1_{experiment['id']}_") and name.endswith(".log")
    records = [json.loads(line) for line in s3.get_object(Bucket="fis-logs", Key=found["Key"])["Body"].iter_lines()]
    assert [each["log_type"] for each in records] == [
        "experiment-start", "target-resolution-start", "target-resolution-end", "action-start", "action-end",
        "experiment-end",
    ]  # fmt: skip


def test_a_report_configuration_is_kept_and_its_report_has_failed(cloud: Any) -> None:
    """Template and experiment return the configuration. The report's state is failed, with a reason."""
    rig = FisRig(cloud)
    configuration = {
        "outputs": {"s3Configuration": {"bucketName": "reports", "prefix": "fis"}},
        "dataSources": {"cloudWatchDashboards": [{"dashboardIdentifier": DASHBOARD}]},
        "preExperimentDuration": "PT5M", "postExperimentDuration": "PT5M",
    }  # fmt: skip
    template_id = rig.template(experimentReportConfiguration=configuration)
    template = rig.fis.get_experiment_template(id=template_id)["experimentTemplate"]
    assert template["experimentReportConfiguration"] == configuration
    experiment = rig.end(rig.start(template_id))
    assert experiment["state"]["status"] == "completed"
    assert experiment["experimentReportConfiguration"] == configuration
    assert experiment["experimentReport"]["state"]["status"] == "failed"
    assert "makes no reports" in experiment["experimentReport"]["state"]["reason"]
    plain = rig.run()
    assert "experimentReport" not in plain


@pytest.mark.parametrize("version", [1, 2])
def test_both_schema_versions_are_taken(cloud: Any, version: int) -> None:
    """The log record names its schema version."""
    rig, logs = FisRig(cloud), cloud.client("logs")
    logs.create_log_group(logGroupName=f"/fis-v{version}")
    group = {"logGroupArn": f"arn:aws:logs:us-east-1:000000000000:log-group:/fis-v{version}:*"}
    experiment = rig.run(logConfiguration={"logSchemaVersion": version, "cloudWatchLogsConfiguration": group})
    stream = f"/aws/fis/{experiment['id']}"
    events = logs.get_log_events(logGroupName=f"/fis-v{version}", logStreamName=stream)["events"]
    assert {json.loads(each["message"])["version"] for each in events} == {str(version)}
