"""Repair of automations: after a kill by the next server, at a stop before the server ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kit.aws import start_local
from kit.local.ssm.api_calls import ApiCaller
from kit.local.ssm.execution_runner import ExecutionRunner
from kit.local.ssm.executions import Execution
from kit.local.ssm.journal import FOLDER, AutomationJournal
from kit.local.ssm.runbook_parser import parse
from tests.local.conftest import RunningCloud
from tests.local.fis_rig import FisRig
from tests.local.ssm_rig import SsmRig, put, runbook, sleep
from tests.local.test_local_ssm_faults import automation
from tests.polling import wait_until

pytestmark = pytest.mark.slow
CHANGED = {"onFailure": "step:Restore", "onCancel": "step:Restore"}
CONTENT = runbook(
    put("/mark/{{ Name }}", "changed", "Change", **CHANGED),
    sleep(600, **CHANGED),
    put("/mark/{{ Name }}", "restored", "Restore"),
    parameters={"Name": {"type": "String"}},
)


def rig_of(cloud: Any, log: Path) -> SsmRig:
    return SsmRig(RunningCloud.of(cloud, log))


def execution_of(content: dict[str, Any], cloud: Any, **values: Any) -> Execution:
    where = {"account": cloud.account_id, "region": cloud.region}
    return Execution(id="e", document="d", version="1", runbook=parse(content), parameters=values, **where)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    (state_dir / "kept").touch()  # a folder that is not empty is not removed with its cloud
    return state_dir


def test_a_killed_servers_automation_is_repaired_by_the_next(folder: Path, tmp_path: Path) -> None:
    """Started alone and by an experiment; the record is removed after the repair."""
    log = tmp_path / "log"
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        alone = rig.in_step(rig.start(CONTENT, Name="alone"), "Hold")
        fis = FisRig(rig.cloud)
        fis.running(actions={"A": automation(rig, rig.document(CONTENT), "PT10M", Name="fis")})
        wait_until(lambda: rig.parameter("/mark/fis") == "changed", "the experiment's automation acts")
        assert rig.parameter("/mark/alone") == "changed"
        os.kill(cloud.pid, signal.SIGKILL)
    assert len(list((folder / FOLDER).glob("*.json"))) == 2
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        wait_until(lambda: rig.parameter("/mark/alone") == "restored", "repaired")
        # FIS waits for the repair of what its experiment started before it serves.
        assert rig.parameter("/mark/fis") == "restored"
        execution = rig.end(alone)
        assert execution["AutomationExecutionStatus"] == "Failed"
        assert "killed in step Hold" in execution["FailureMessage"]
        assert rig.steps(alone) == {"Change": "Pending", "Hold": "Cancelled", "Restore": "Success"}
        wait_until(lambda: list((folder / FOLDER).glob("*.json")) == [], "the records are gone")


def test_a_server_that_is_stopped_repairs_first(folder: Path, tmp_path: Path) -> None:
    """The step that restores has run, so no record is left."""
    log = tmp_path / "log"
    with start_local(folder, log=log) as cloud:
        rig = rig_of(cloud, log)
        rig.in_step(rig.start(CONTENT, Name="alone"), "Hold")
        assert len(list((folder / FOLDER).glob("*.json"))) == 1
    assert list((folder / FOLDER).glob("*.json")) == []


def test_a_repair_can_be_repeated(cloud: Any, tmp_path: Path) -> None:
    """If a server is killed during a repair, the next one starts the repair again."""
    rig, journal = SsmRig(cloud), AutomationJournal(tmp_path)
    execution = execution_of(CONTENT, cloud, Name="twice")
    caller = ApiCaller(cloud.endpoint, cloud.credentials.secret_key)

    async def repair(record: dict[str, Any]) -> Execution:
        again = Execution.from_record(record)
        await ExecutionRunner(again, caller, journal).repair(record["is_repairing"])
        return again

    for step, is_repairing in (("Hold", False), ("Restore", True)):
        journal.write("e", execution.record(step, is_repairing=is_repairing))
        (record,) = journal.load()
        rig.ssm.put_parameter(Name="/mark/twice", Value="changed", Type="String", Overwrite=True)
        again = asyncio.run(repair(record))
        assert (rig.parameter("/mark/twice"), again.is_settled) == ("restored", True)
    caller.close()
    assert journal.load() == []


def test_a_full_disk_prevents_a_step_but_not_a_repair(cloud: Any, tmp_path: Path) -> None:
    """A step without a record does not act, and the repair runs."""
    rig, journal = SsmRig(cloud), AutomationJournal(tmp_path)
    (tmp_path / FOLDER).touch()  # a file where the folder should be: no record can be written
    execution = execution_of(CONTENT, cloud, Name="full")
    caller = ApiCaller(cloud.endpoint, cloud.credentials.secret_key)
    asyncio.run(ExecutionRunner(execution, caller, journal).run())
    caller.close()
    assert (execution.status, execution.is_settled) == ("Failed", True)
    assert "Step Change failed: step Change cannot be recorded" in execution.failure
    assert rig.parameter("/mark/full") == "restored"


def test_a_defect_of_ours_in_a_step_leads_to_the_repair(cloud: Any, tmp_path: Path) -> None:
    """The defect here: the thread pool for calls is closed."""
    call = {"name": "Call", "action": "aws:executeAwsApi", "inputs": {"Service": "{{ Name }}", "Api": "GetParameter"}}
    content = runbook({**call, **CHANGED}, sleep(0, "Restore"), parameters=CONTENT["parameters"])
    execution = execution_of(content, cloud, Name="ssm")
    caller = ApiCaller(cloud.endpoint, cloud.credentials.secret_key)
    caller.close()
    asyncio.run(ExecutionRunner(execution, caller, AutomationJournal(tmp_path)).run())
    assert (execution.status, execution.steps["Restore"].status) == ("Failed", "Success")
    assert "internal error" in execution.failure


def test_an_incomplete_record_is_ignored(tmp_path: Path) -> None:
    """A kill during the write means that the step never began."""
    journal = AutomationJournal(tmp_path)
    journal.write("a", {"id": "a"})
    (tmp_path / FOLDER / ".b.part").write_text('{"id": "b"')
    (tmp_path / FOLDER / "c.json").write_text('{"id": "c"')
    assert journal.load() == [{"id": "a"}]
    journal.remove("a")
    journal.remove("a")
    assert journal.load() == []
