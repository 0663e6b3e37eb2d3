"""What may be missing in honest metrics: what a killed task did not publish, what no client saw; and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from kit.model import FaultWindow, Finding, Status
from tests.histories import planted_metrics
from tests.histories.clock import T0_NS
from tests.histories.run_folder import judge
from tests.histories.telemetry import published

T0 = T0_NS / 1e9
COUNTS = ("requests-counted", "latencies-counted", "accepted-orders-counted", "fills-counted", "commands-counted")


def fault(action_id: str, at: float, **parameters: str) -> FaultWindow:
    action = {"name": "A", "action_id": action_id, "parameters": parameters, "start": at, "end": at + 2, "proof": ""}
    return FaultWindow(
        experiment_id="EXP1", template="T", status="completed", actions=(action,), injected_at=at, ended_at=at + 2
    )


CUT = ("aws:network:disrupt-connectivity", {"scope": "all"})
KILLED = ("aws:ecs:task-kill-process", {"signal": "SIGKILL"})


def short(tables: dict[str, Any]) -> dict[str, Any]:
    """The metrics without all that was published of the first half."""
    for name in ("requests", "requests@us-east-1a", "requests@us-east-1b", "latency_count"):
        planted_metrics.scale(tables, name, 0.5)
    for name in ("orders_accepted", "fills", "matcher_lag_count"):
        planted_metrics.scale(tables, name, 0.5)
    return tables


def statuses(tables: dict[str, Any], window: FaultWindow | None) -> set[Status]:
    return {one.status for one in judge(tables, *COUNTS, fault=window).values()}


@pytest.mark.parametrize(("action_id", "parameters"), [CUT, KILLED])
def test_what_a_task_counted_before_it_was_killed_or_cut_off_may_be_missing(tables, action_id, parameters):
    assert statuses(short(tables), fault(action_id, T0 + 4.5, **parameters)) == {Status.PASS}


@pytest.mark.parametrize(
    "window",
    [
        None,
        fault("aws:network:disrupt-connectivity", T0 + 4.5, scope="dynamodb"),
        fault("aws:ecs:task-kill-process", T0 + 4.5, signal="SIGSTOP"),
        fault("aws:ssm:start-automation-execution", T0 + 4.5),
        fault(CUT[0], T0 + 100, **CUT[1]),
    ],
    ids=["no-fault", "only-the-store-is-cut", "frozen", "no-network", "another-time"],
)
def test_no_other_fault_explains_missing_counts(tables, window):
    found = judge(short(tables), "requests-counted", "latencies-counted", "accepted-orders-counted", fault=window)
    assert {one.status for one in found.values()} == {Status.FAIL}


def test_a_commit_whose_answer_was_lost_may_miss_its_fills_only_while_the_network_is_disturbed(tables):
    planted_metrics.scale(tables, "fills", 0.5)
    disturbed = fault("aws:ecs:task-network-packet-loss", T0 + 1)
    assert judge(tables, "fills-counted", fault=disturbed)["fills-counted"].status is Status.PASS
    assert judge(tables, "fills-counted", fault=fault("aws:fis:wait", T0 + 1))["fills-counted"].status is Status.FAIL


def subtract(tables: dict[str, Any], name: str, value: float) -> None:
    """Take so much from the first point of a metric."""
    series = tables["series"]
    series.loc[series.index[series["name"] == name][0], "value"] -= value


def trades_by_command(tables: dict[str, Any]) -> Any:
    events = tables["events"]
    return events[events["type"] == "fill"].groupby("event_id").size().sort_values(ascending=False)


def test_a_commit_without_an_answer_counts_neither_its_command_nor_its_trades(tables):
    """On any machine a call may lose its answer; the ledger has what the metrics lack."""
    subtract(tables, "matcher_lag_count", 1)
    subtract(tables, "fills", int(trades_by_command(tables).iloc[0]))
    assert statuses(tables, None) - {Status.PASS} == set()


def test_missing_trades_of_commands_that_were_counted_are_a_lie(tables):
    """An order that trades several times counts once, although its matcher got the answer to the commit."""
    trades = trades_by_command(tables)
    subtract(tables, "fills", int((trades - 1).sum()))
    assert found(tables, "fills-counted").status is Status.FAIL
    assert found(tables, "commands-counted").status is Status.PASS


def test_commits_that_are_counted_now_and_then_are_a_lie(tables):
    planted_metrics.scale(tables, "matcher_lag_count", 0.9)
    planted_metrics.scale(tables, "fills", 0.9)
    judged = judge(tables, "commands-counted", "fills-counted")
    assert {one.status for one in judged.values()} == {Status.FAIL}


def test_the_load_balancers_own_503_is_no_error_of_the_api(tables):
    balancer = tables["attempts"]["status"] == 503
    assert balancer.any()
    tables["attempts"].loc[balancer, "reply"] = "<html>503 Service Temporarily Unavailable</html>"
    assert found(tables, "errors-counted").status is Status.PASS


def test_the_balancer_cannot_have_measured_more_than_clients_waited_unless_some_gave_up(tables):
    """What a client gave up may have taken any time."""
    planted_metrics.scale(tables, "target_response_time_s_p95", 100)
    assert found(tables, "response-time-as-clients-saw").status is Status.PASS
    attempts = tables["attempts"]
    attempts.loc[(attempts["status"] == 0) & (attempts["late_status"] == 0), "status"] = 503
    assert found(tables, "response-time-as-clients-saw").status is Status.FAIL


def test_metrics_that_were_not_read_are_no_evidence(tables, monkeypatch):
    monkeypatch.setattr("tests.histories.run_folder.SERIES", ["edge_requests"])
    tables["series"] = tables["series"].assign(name="edge_requests")
    assert {one.status for one in judge(tables, *COUNTS).values()} == {Status.INVALID}
    assert "requests was not read from CloudWatch" in found(tables, "requests-counted").detail


def test_an_honest_exchange_publishes_what_its_history_says(golden):
    told = (golden[name].to_dict("records") for name in ("attempts", "events", "orders", "connections"))
    since_ns = int(golden["past"]["ts_ns"].max())
    again = published(*told, since_ns=since_ns)
    assert again.equals(golden["series"])


def found(tables: dict[str, Any], name: str) -> Finding:
    return judge(tables, name)[name]


def test_lags_of_a_run_whose_periods_all_touch_the_fault_are_judged_together(tables):
    """A brief run may have no period of its own before and after a fault of the network."""
    seconds = (tables["events"]["ts_ns"] - T0_NS) / 1e9
    window = fault("aws:ecs:task-network-packet-loss", T0 + float(seconds.max()))
    assert judge(tables, "lag-as-ledger-shows", fault=window)["lag-as-ledger-shows"].status is Status.PASS
    planted_metrics.lag_counts_from_the_commit(tables)
    assert judge(tables, "lag-as-ledger-shows", fault=window)["lag-as-ledger-shows"].status is Status.FAIL


def test_matchers_may_compete_for_a_market_once_something_is_broken(tables):
    """A frozen matcher that resumes writes a market that another one has taken over. Waiting breaks nothing."""
    planted_metrics.two_matchers_write_one_market(tables)
    frozen, waited = fault(KILLED[0], T0, signal="SIGSTOP"), fault("aws:fis:wait", T0)
    assert judge(tables, "one-writer-a-market", fault=frozen)["one-writer-a-market"].status is Status.PASS
    assert judge(tables, "one-writer-a-market", fault=waited)["one-writer-a-market"].status is Status.FAIL


def test_a_moment_with_two_writers_is_no_second_writer(tables):
    planted_metrics.add_minute(tables, "transaction_conflicts@markets", 8.0)
    assert found(tables, "one-writer-a-market").status is Status.PASS


def test_matchers_that_wait_may_receive_nothing_for_most_of_the_time(tables):
    """Two empty receives a second of each task, also in the minutes around the load."""
    planted_metrics.add_minute(tables, "queue_empty_receives", 400.0)
    assert found(tables, "receives-wait").status is Status.PASS


def test_a_queue_of_which_nothing_was_published_is_not_judged(tables):
    planted_metrics.remove(tables, "queue_messages_received")
    assert found(tables, "receives-wait").status is Status.INVALID
