"""Faults by automation: aws:ssm:start-automation-execution, and two documents of PaperBroker's stack.

However an experiment ends, it has put back what the document changed before it is reported as ended.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.fis_rig import FisRig, stop_on, wait_action
from tests.local.ssm_rig import SLOW_STORE, THROTTLE, SsmRig, client, fail, put, runbook, sleep
from tests.local.test_local_appconfig import Flags, make_flags
from tests.polling import CLOCK_STEP_S, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig(cloud: Any) -> SsmRig:
    return SsmRig(cloud)


@pytest.fixture(scope="module")
def fis(cloud: Any) -> FisRig:
    return FisRig(cloud)


@pytest.fixture(autouse=True)
def quiet(fis: FisRig) -> Iterator[None]:
    """No experiment outlives its test."""
    yield
    fis.stop_all()


def automation(rig: SsmRig, document: str, maximum: str = "PT1M", **values: Any) -> dict[str, Any]:
    """The FIS action that runs a document."""
    parameters = {"documentArn": rig.arn(document), "maxDuration": maximum}
    if values:
        parameters["documentParameters"] = json.dumps(values, separators=(",", ":"))  # FIS takes no spaces
    return {"actionId": "aws:ssm:start-automation-execution", "parameters": parameters}


class Slow:
    """SlowStoreDocument with an AppConfig application of its own."""

    def __init__(self, rig: SsmRig) -> None:
        self.rig = rig
        self.flags: Flags = make_flags(rig.cloud)
        self.versions = [self.flags.add({"storeDelayMs": delay}) for delay in (0, 1500)]
        self.flags.deploy(self.versions[0])

    def values(self, seconds: float, **more: str) -> dict[str, str]:
        normal, slow = self.versions
        return {
            "FlagsApplication": self.flags.application, "FlagsEnvironment": self.flags.environment,
            "FlagsProfile": self.flags.profile, "FlagsAtOnce": self.flags.strategy, "FlagsSlow": slow,
            "FlagsNormal": normal, "Duration": f"PT{seconds:g}S", **more,
        }  # fmt: skip

    def is_slow(self) -> bool:
        return self.flags.value() == {"storeDelayMs": 1500}

    def is_normal(self) -> bool:
        return self.flags.value() == {"storeDelayMs": 0}


@pytest.fixture
def slow(rig: SsmRig) -> Slow:
    return Slow(rig)


class Table:
    """ThrottleDocument with a table of its own."""

    def __init__(self, rig: SsmRig) -> None:
        self.rig = rig
        self.dynamodb = client(rig.cloud, "dynamodb")
        self.name = f"orders-{uuid.uuid4().hex[:8]}"
        self.dynamodb.create_table(
            TableName=self.name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )  # fmt: skip

    def write_units_max(self) -> int:
        described = self.dynamodb.describe_table(TableName=self.name)["Table"]
        return described.get("OnDemandThroughput", {}).get("MaxWriteRequestUnits", -1)


@pytest.fixture
def table(rig: SsmRig) -> Table:
    return Table(rig)


# ---- SlowStoreDocument ----


def test_the_slow_flag_is_deployed_for_a_time(rig: SsmRig, slow: Slow) -> None:
    execution_id = rig.in_step(rig.start(SLOW_STORE, **slow.values(0.7)), "Hold")
    assert slow.is_slow()
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Success"
    assert slow.is_normal()


def test_the_normal_flag_is_back_after_a_cancellation(rig: SsmRig, slow: Slow) -> None:
    execution_id = rig.in_step(rig.start(SLOW_STORE, **slow.values(600)), "Hold")
    assert slow.is_slow()
    rig.cancel(execution_id)
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Cancelled"
    assert slow.is_normal()


@pytest.mark.parametrize("wrong", [{"FlagsSlow": "99"}, {"Duration": "for a while"}])
def test_the_normal_flag_is_back_after_a_failure(rig: SsmRig, slow: Slow, wrong: dict[str, str]) -> None:
    """The slow version does not exist; or the duration is invalid, after the slow version was deployed."""
    execution = rig.run(SLOW_STORE, **slow.values(1, **wrong))
    assert execution["AutomationExecutionStatus"] == "Failed"
    assert rig.steps(execution["AutomationExecutionId"])["Normal"] == "Success"
    assert slow.is_normal()


# ---- ThrottleDocument ----


def test_the_tables_capacity_is_low_for_a_time(rig: SsmRig, table: Table) -> None:
    values = {"OrdersTable": table.name, "WriteUnits": 2, "Duration": "PT0.7S"}
    execution_id = rig.in_step(rig.start(THROTTLE, **values), "Hold")
    assert table.write_units_max() == 2
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Success"
    assert table.write_units_max() == -1


def test_the_tables_capacity_is_back_after_a_cancellation(rig: SsmRig, table: Table) -> None:
    execution_id = rig.in_step(rig.start(THROTTLE, OrdersTable=table.name, WriteUnits=1, Duration="PT10M"), "Hold")
    assert table.write_units_max() == 1
    rig.cancel(execution_id)
    assert rig.end(execution_id)["AutomationExecutionStatus"] == "Cancelled"
    assert table.write_units_max() == -1


# ---- the FIS action ----


def test_the_action_lasts_as_long_as_its_automation(rig: SsmRig, fis: FisRig, slow: Slow) -> None:
    action = automation(rig, rig.document(SLOW_STORE), **slow.values(0.7))
    experiment_id = fis.running(actions={"SlowStore": action, "After": wait_action(0.1, startAfter=["SlowStore"])})
    wait_until(slow.is_slow, "slow")
    experiment = fis.end(experiment_id)
    assert experiment["state"]["status"] == "completed", experiment
    assert slow.is_normal()
    slow_store = experiment["actions"]["SlowStore"]
    assert (slow_store["endTime"] - slow_store["startTime"]).total_seconds() >= 0.7 - CLOCK_STEP_S


@pytest.mark.parametrize("how", ["stop", "alarm", "lever", "failure of another action"])
def test_the_flag_is_back_however_the_experiment_ends(rig: SsmRig, fis: FisRig, slow: Slow, how: str) -> None:
    guard, other = fis.alarm(), fis.alarm()
    check = {"actionId": "aws:cloudwatch:assert-alarm-state",
             "parameters": {"alarmArns": other, "alarmStates": "ALARM"}, "startAfter": ["Wait"]}  # fmt: skip
    actions = {"SlowStore": automation(rig, rig.document(SLOW_STORE), "PT10M", **slow.values(600))}
    if how == "failure of another action":
        actions |= {"Wait": wait_action(0.7), "Check": check}
    experiment_id = fis.running(actions=actions, stopConditions=stop_on(guard))
    wait_until(slow.is_slow, "slow")
    if how == "stop":
        fis.fis.stop_experiment(id=experiment_id)
    elif how == "alarm":
        fis.set_alarm(guard, "ALARM")
    elif how == "lever":
        fis.fis.update_safety_lever_state(id="default", state={"status": "engaged", "reason": "test"})
    try:
        experiment = fis.end(experiment_id)
    finally:
        if how == "lever":
            wait_until(
                lambda: fis.fis.get_safety_lever(id="default")["safetyLever"]["state"]["status"] == "engaged", how
            )
            fis.fis.update_safety_lever_state(id="default", state={"status": "disengaged", "reason": "over"})
    assert experiment["state"]["status"] == ("failed" if "failure" in how else "stopped"), experiment
    assert experiment["actions"]["SlowStore"]["state"]["status"] == "stopped"
    assert slow.is_normal()


def test_the_flag_is_back_soon_after_the_stop(rig: SsmRig, fis: FisRig, slow: Slow) -> None:
    """Within 300 ms; the median of three, because a busy machine may be late once."""
    document = rig.document(SLOW_STORE)
    took_s = []
    for _ in range(3):
        action = automation(rig, document, "PT10M", **slow.values(600))
        experiment_id = fis.running(actions={"SlowStore": action})
        wait_until(slow.is_slow, "slow")
        begun = time.time()
        fis.fis.stop_experiment(id=experiment_id)
        took_s.append(fis.end(experiment_id)["endTime"].timestamp() - begun)
        assert slow.is_normal()
    assert statistics.median(took_s) < 0.2 + 0.1, took_s


def test_an_automation_that_fails_fails_its_action(rig: SsmRig, fis: FisRig) -> None:
    experiment = fis.run(actions={"A": automation(rig, rig.document(runbook(fail("Bad"))))})
    assert experiment["state"]["status"] == "failed"
    assert experiment["state"]["error"]["code"] == "DependentServiceFailure"
    assert "Step Bad failed" in experiment["actions"]["A"]["state"]["reason"]


def test_an_automation_that_takes_too_long_fails_its_action_and_is_cancelled(rig: SsmRig, fis: FisRig) -> None:
    mark = f"/mark/{uuid.uuid4().hex}"
    content = runbook(sleep(600, onCancel="step:Restore"), put(mark, "restored", "Restore"))
    experiment = fis.run(actions={"A": automation(rig, rig.document(content), "PT0.5S")})
    assert experiment["state"]["status"] == "failed"
    assert "did not end within 0.5 s" in experiment["actions"]["A"]["state"]["reason"]
    assert rig.parameter(mark) == "restored"


def test_an_undo_that_fails_fails_the_experiment(rig: SsmRig, fis: FisRig) -> None:
    """`stopped` would mean that everything was put back."""
    content = runbook(sleep(600, onCancel="step:Restore"), fail("Restore"))
    experiment_id = fis.running(actions={"A": automation(rig, rig.document(content), "PT10M")})
    wait_until(
        lambda: rig.ssm.describe_automation_executions(Filters=[{"Key": "CurrentAction", "Values": ["aws:sleep"]}])[
            "AutomationExecutionMetadataList"
        ],
        "sleeping",
    )
    fis.fis.stop_experiment(id=experiment_id)
    experiment = fis.end(experiment_id)
    assert "undo of ssm-automation failed" in experiment["actions"]["A"]["state"]["reason"]
    assert experiment["actions"]["A"]["state"]["status"] == "failed"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"documentArn": "arn:aws:ssm:us-east-1:000000000000:document/not-there"}, "not-there"),
        ({"documentArn": "arn:aws:ssm:eu-west-1:000000000000:document/elsewhere"}, "elsewhere"),
        ({"documentParameters": "not-json"}, "is not JSON"),
        ({"documentParameters": '{"Nonsense":"x"}'}, "Nonsense"),
        ({"documentVersion": "9"}, "no version 9"),
    ],
)
def test_an_automation_that_cannot_start_is_a_configuration_failure(
    rig: SsmRig, fis: FisRig, parameters: dict[str, str], message: str
) -> None:
    action = automation(rig, rig.document(runbook(sleep(0))))
    experiment = fis.run(actions={"A": {**action, "parameters": {**action["parameters"], **parameters}}})
    assert experiment["state"]["error"]["code"] == "ConfigurationFailure"
    assert message in experiment["actions"]["A"]["state"]["reason"]
