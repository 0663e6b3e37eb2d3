"""A third-party client: Chaos Toolkit starts, watches and stops experiments of the local AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from chaosaws.fis.actions import start_experiment, stop_experiment, stop_experiments_by_tags
from chaosaws.fis.probes import get_experiment
from chaoslib.exceptions import ActivityFailed
from chaoslib.experiment import run_experiment

from tests.local.fis_rig import FisRig, disrupt, subnets_by_tag, wait_action

pytestmark = pytest.mark.slow

REGION: Any = {"aws_region": "us-east-1"}


@pytest.fixture
def rig(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FisRig]:
    """The toolkit finds the cloud as every AWS tool does: by its environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.credentials.secret_key)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    rig = FisRig(cloud)
    yield rig
    rig.stop_all()


def status(experiment_id: str) -> str:
    return get_experiment(experiment_id, configuration=REGION)["experiment"]["state"]["status"]


def test_its_functions_start_watch_and_stop_an_experiment(rig: FisRig) -> None:
    """Chaos Toolkit's own functions work, and the experiment that they stop is undone."""
    tag, _ = rig.subnets("a")
    template_id = rig.template(actions={"cut": disrupt()}, targets={"Subnets": subnets_by_tag(tag)})
    started = start_experiment(template_id, client_token=f"ctk-{tag}", tags={"Tool": "ctk"}, configuration=REGION)
    experiment: Any = started["experiment"]
    assert experiment["tags"] == {"Tool": "ctk"}
    assert status(experiment["id"]) in ("initiating", "running")
    stopping = stop_experiment(experiment["id"], configuration=REGION)
    assert stopping["experiment"]["state"]["status"] == "stopping"
    rig.end(experiment["id"])
    assert status(experiment["id"]) == "stopped"


def test_it_stops_experiments_by_their_tags(rig: FisRig) -> None:
    """Chaos Toolkit finds the experiment without its id."""
    template_id = rig.template(actions={"wait": wait_action(60)})
    ours = start_experiment(template_id, tags="Run=ours", configuration=REGION)["experiment"]["id"]
    other = start_experiment(template_id, tags="Run=other", configuration=REGION)["experiment"]["id"]
    stop_experiments_by_tags("Run=ours", configuration=REGION)
    assert rig.end(ours)["state"]["status"] == "stopped"
    assert status(other) == "running"


def test_an_error_of_the_service_reaches_its_user(rig: FisRig) -> None:
    """A missing template fails the activity with FIS's error message."""
    with pytest.raises(ActivityFailed, match="Experiment template EXTnone does not exist"):
        start_experiment("EXTnone", configuration=REGION)


def test_a_declared_experiment_of_the_toolkit_runs_to_its_end(rig: FisRig) -> None:
    """Method, probe and rollback are declared in a file; the toolkit's journal reports completed."""
    template_id = rig.template(actions={"wait": wait_action(60)})
    fis: dict[str, Any] = {"type": "python", "module": "chaosaws.fis.actions"}
    start = {**fis, "func": "start_experiment", "arguments": {"experiment_template_id": template_id, "tags": "Run=ctk"}}
    stop = {**fis, "func": "stop_experiments_by_tags", "arguments": {"tags": "Run=ctk"}}
    journal = run_experiment(
        {
            "version": "1.0.0", "title": "A wait", "description": "starts and stops", "configuration": REGION,
            "method": [{"type": "action", "name": "start", "provider": start}],
            "rollbacks": [{"type": "action", "name": "stop", "provider": stop}],
        }
    )  # fmt: skip
    assert journal["status"] == "completed", journal
    started = journal["run"][0]["output"]["experiment"]["id"]
    assert [each["status"] for each in (*journal["run"], *journal["rollbacks"])] == ["succeeded", "succeeded"]
    assert rig.end(started)["state"]["status"] == "stopped"
