"""A disarmed action: FIS reports it as usual, and nothing is injected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.local.fis import disarm
from kit.local.fis.journal import FILE_NAME as JOURNAL
from tests.local.conftest import RunningCloud
from tests.local.fis_rig import FisRig, disrupt, subnets_by_tag
from tests.polling import CLOCK_STEP_S

ACTION_ID = "aws:network:disrupt-connectivity"


@pytest.fixture
def switch(cloud: RunningCloud) -> Iterator[Path]:
    """Return the path of the file, and remove it at the end."""
    path = cloud.state_dir / disarm.FILE_NAME
    yield path
    path.unlink(missing_ok=True)


def changes(cloud: RunningCloud) -> int:
    return (cloud.state_dir / JOURNAL).read_text().count('"remember"')


def test_a_disarmed_action_completes_in_its_time_and_changes_nothing(cloud: RunningCloud, switch: Path):
    rig = FisRig(cloud)
    tag, _ = rig.subnets("a")
    settings = {"actions": {"cut": disrupt(seconds=1)}, "targets": {"Subnets": subnets_by_tag(tag)}}
    before = changes(cloud)
    switch.write_text(f"aws:ecs:stop-task\n{ACTION_ID}\n")
    told = rig.run(**settings)
    action = told["actions"]["cut"]
    assert told["state"]["status"] == action["state"]["status"] == "completed"
    assert (action["endTime"] - action["startTime"]).total_seconds() >= 1 - CLOCK_STEP_S
    assert changes(cloud) == before
    switch.unlink()
    rig.run(**settings)
    assert changes(cloud) == before + 1


def test_other_actions_are_still_injected(cloud: RunningCloud, switch: Path):
    switch.write_text("aws:network:disrupt-connectivity-x\n")
    assert not disarm.is_disarmed(cloud.state_dir, ACTION_ID)
