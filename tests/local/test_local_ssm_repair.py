"""Automations and a server that ends: killed, the next one repairs; stopped, it repairs before it goes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kit.aws import start_local
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.execution_runner import Run
from kit.local.ssm.executions import Execution
from kit.local.ssm.journal import FOLDER, AutomationJournal
from kit.local.ssm.runbook_parser import read
from tests.local.conftest import RunningCloud
from tests.local.fis_rig import FisRig, until
from tests.local.ssm_rig import SsmRig, put, runbook, sleep
from tests.local.test_local_ssm_faults import automation

pytestmark = pytest.mark.slow

FIELDS = ("endpoint", "region", "account_id", "state_dir", "pid")
CHANGED = {"onFailure": "step:Restore", "onCancel": "step:Restore"}
CONTENT = runbook(
    put("/mark/{{ Name }}", "changed", "Change", **CHANGED),
    sleep(600, **CHANGED),
    put("/mark/{{ Name }}", "restored", "Restore"),
    parameters={"Name": {"type": "String"}},
)


def rig_of(cloud: Any, log: Path) -> SsmRig:
    return SsmRig(RunningCloud(**{name: getattr(cloud, name) for name in FIELDS}, log=log))


def execution_of(content: dict[str, Any], cloud: Any, **values: Any) -> Execution:
    where = {"account": cloud.account_id, "region": cloud.region}
    return Execution(id="e", document="d", version="1", runbook=read(content), parameters=values, **where)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    (state_dir / "kept").touch()  # a folder that held something is not removed with its cloud
    return state_dir


def test_a_killed_servers_automation_is_repaired_by_the_next(folder: Path, tmp_path: Path) -> None:
    """Alone and as the action of an experiment; the record is gone when it is done."""
    log = tmp_path / "log"
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        alone = rig.in_step(rig.start(CONTENT, Name="alone"), "Hold")
        fis = FisRig(rig.cloud)
        fis.running(actions={"A": automation(rig, rig.document(CONTENT), "PT10M", Name="fis")})
        until(lambda: rig.parameter("/mark/fis") == "changed", "the experiment's automation acts")
        assert rig.parameter("/mark/alone") == "changed"
        os.kill(cloud.pid, signal.SIGKILL)
    assert len(list((folder / FOLDER).glob("*.json"))) == 2
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        until(lambda: rig.parameter("/mark/alone") == "restored", "repaired")
        # FIS waits for the repair of what its experiment started before it serves.
        assert rig.parameter("/mark/fis") == "restored"
        execution = rig.end(alone)
        assert execution["AutomationExecutionStatus"] == "Failed"
        assert "killed in step Hold" in execution["FailureMessage"]
        assert rig.steps(alone) == {"Change": "Pending", "Hold": "Cancelled", "Restore": "Success"}
        until(lambda: list((folder / FOLDER).glob("*.json")) == [], "the records are gone")


def test_a_server_that_is_stopped_repairs_first(folder: Path, tmp_path: Path) -> None:
    """The last step under way is the one that restores, and it is done: no record is left."""
    log = tmp_path / "log"
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        rig.in_step(rig.start(CONTENT, Name="alone"), "Hold")
        assert len(list((folder / FOLDER).glob("*.json"))) == 1
    assert list((folder / FOLDER).glob("*.json")) == []


def test_a_repair_may_be_done_twice(cloud: Any, tmp_path: Path) -> None:
    """Killed again while it repairs, the next server begins the repair anew."""
    rig, journal = SsmRig(cloud), AutomationJournal(tmp_path)
    execution = execution_of(CONTENT, cloud, Name="twice")
    caller = ApiCaller(cloud.endpoint)

    async def repair(record: dict[str, Any]) -> Execution:
        again = Execution.of_record(record)
        await Run(again, caller, journal).repair(record["is_repairing"])
        return again

    for step, is_repairing in (("Hold", False), ("Restore", True)):
        journal.write("e", execution.record(step, is_repairing=is_repairing))
        (record,) = journal.load()
        rig.ssm.put_parameter(Name="/mark/twice", Value="changed", Type="String", Overwrite=True)
        again = asyncio.run(repair(record))
        assert (rig.parameter("/mark/twice"), again.is_settled) == ("restored", True)
    caller.close()
    assert journal.load() == []


def test_a_full_disk_keeps_a_step_from_acting_but_no_repair(cloud: Any, tmp_path: Path) -> None:
    """What cannot be written down is not done; what was changed is put back all the same."""
    rig, journal = SsmRig(cloud), AutomationJournal(tmp_path)
    (tmp_path / FOLDER).touch()  # a file where the folder should be: no record can be written
    execution = execution_of(CONTENT, cloud, Name="full")
    caller = ApiCaller(cloud.endpoint)
    asyncio.run(Run(execution, caller, journal).run())
    caller.close()
    assert (execution.status, execution.is_settled) == ("Failed", True)
    assert "Step Change failed: step Change cannot be written down" in execution.failure
    assert rig.parameter("/mark/full") == "restored"


def test_a_defect_of_ours_in_a_step_leads_to_the_repair(cloud: Any, tmp_path: Path) -> None:
    """Here: the threads for calls are gone."""
    call = {"name": "Call", "action": "aws:executeAwsApi", "inputs": {"Service": "{{ Name }}", "Api": "GetParameter"}}
    content = runbook({**call, **CHANGED}, sleep(0, "Restore"), parameters=CONTENT["parameters"])
    execution = execution_of(content, cloud, Name="ssm")
    caller = ApiCaller(cloud.endpoint)
    caller.close()
    asyncio.run(Run(execution, caller, AutomationJournal(tmp_path)).run())
    assert (execution.status, execution.steps["Restore"].status) == ("Failed", "Success")
    assert "internal error" in execution.failure


def test_a_torn_record_is_left_aside(tmp_path: Path) -> None:
    """A write that a kill cut short announces a step that never began."""
    journal = AutomationJournal(tmp_path)
    journal.write("a", {"id": "a"})
    (tmp_path / FOLDER / "b.new").write_text('{"id": "b"')
    (tmp_path / FOLDER / "c.json").write_text('{"id": "c"')
    assert journal.load() == [{"id": "a"}]
    journal.remove("a")
    journal.remove("a")
    assert journal.load() == []
