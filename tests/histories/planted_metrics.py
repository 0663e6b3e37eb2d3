"""Plant lies in the metrics that PaperBroker publishes."""

from __future__ import annotations

from kit.model import SERIES_COLUMNS
from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


def scale(tables: Tables, name: str, factor: float) -> None:
    series = tables["series"]
    series.loc[series["name"] == name, "value"] *= factor


def remove(tables: Tables, name: str) -> None:
    """Nothing of the metric was published: it was read, and has no point."""
    series = tables["series"]
    tables["series"] = series[series["name"] != name].reset_index(drop=True)


def answer_5xx(tables: Tables) -> None:
    """Make PaperBroker answer a few orders with a 503 of its own, in its JSON; the metrics do not count them."""
    asked = edits.rows(tables, "attempts", op="get_order", status=404).index[-5:]
    for index in asked:
        edits.change(tables, "attempts", index, status=503, outcome="info", reply='{"error":"StoreUnavailable"}')


@PLANTS.caught_by("requests-counted", "metrics-have-zones")
def every_other_request_is_not_counted(tables: Tables) -> None:
    scale(tables, "requests", 0.5)


@PLANTS.caught_by("requests-counted")
def requests_are_counted_twice(tables: Tables) -> None:
    for name in tables["series"]["name"].unique():
        if name.startswith("requests"):
            scale(tables, name, 2)


@PLANTS.caught_by("requests-counted")
def requests_are_never_published(tables: Tables) -> None:
    remove(tables, "requests")


@PLANTS.caught_by("errors-counted")
def answers_503_are_no_errors(tables: Tables) -> None:
    answer_5xx(tables)


@PLANTS.caught_by("errors-counted")
def more_errors_than_attempts(tables: Tables) -> None:
    edits.add(tables, "series", SERIES_COLUMNS, {"name": "http_5xx", "t": tables["series"]["t"].max(), "value": 900.0})


@PLANTS.caught_by("latencies-counted")
def only_the_fast_answers_are_measured(tables: Tables) -> None:
    scale(tables, "latency_count", 0.5)


@PLANTS.caught_by("latency-as-clients-saw")
def latency_is_longer_than_clients_waited(tables: Tables) -> None:
    """In two periods at p50. At p95 it may be true: some clients got no answer, however long their tasks worked."""
    series = tables["series"]
    first = series[series["name"] == "latency_ms_p50"].iloc[0]
    edits.add(tables, "series", SERIES_COLUMNS, {**first.to_dict(), "t": first["t"] - 5.0})
    scale(tables, "latency_ms_p50", 1_000)
    scale(tables, "latency_ms_p95", 1_000)


@PLANTS.caught_by("latency-as-clients-saw")
def latency_is_measured_after_the_work(tables: Tables) -> None:
    """Clients waited for 200 ms, and the tasks say 0.1 ms."""
    attempts = tables["attempts"]
    slow = attempts["op"].isin(["order", "cancel"]) & (attempts["completed_ns"] - attempts["invoked_ns"] < 100_000_000)
    for column in ("intended_ns", "invoked_ns"):
        attempts.loc[slow, column] -= 200_000_000
    for share in (50, 95):
        tables["series"].loc[tables["series"]["name"] == f"latency_ms_p{share}", "value"] = 0.1


@PLANTS.caught_by("accepted-orders-counted")
def accepted_orders_are_not_counted(tables: Tables) -> None:
    scale(tables, "orders_accepted", 0.1)


@PLANTS.caught_by("commands-counted")
def one_command_in_ten_is_not_counted(tables: Tables) -> None:
    scale(tables, "matcher_lag_count", 0.9)


@PLANTS.caught_by("commands-counted")
def commands_are_counted_when_they_come_again(tables: Tables) -> None:
    scale(tables, "matcher_lag_count", 1.1)


@PLANTS.caught_by("fills-counted")
def a_trade_is_not_counted(tables: Tables) -> None:
    series = tables["series"]
    series.loc[series.index[series["name"] == "fills"][0], "value"] -= 1


@PLANTS.caught_by("fills-counted")
def both_sides_of_a_trade_are_counted(tables: Tables) -> None:
    scale(tables, "fills", 2)


@PLANTS.caught_by("metrics-have-zones")
def the_zone_is_missing(tables: Tables) -> None:
    series = tables["series"]
    series.loc[series["name"].str.contains("@"), "value"] = 0.0


@PLANTS.caught_by("metrics-never-silent")
def the_matchers_publish_nothing(tables: Tables) -> None:
    remove(tables, "heartbeats_matcher")


@PLANTS.caught_by("lag-as-ledger-shows")
def lag_counts_from_the_commit(tables: Tables) -> None:
    scale(tables, "matcher_lag_ms_max", 0.01)
    lengthen(tables)


@PLANTS.caught_by("lag-as-ledger-shows")
def time_to_first_fill_is_capped(tables: Tables) -> None:
    lengthen(tables)
    series = tables["series"]
    capped = series["name"] == "time_to_first_fill_ms_max"
    series.loc[capped, "value"] = series.loc[capped, "value"].clip(upper=100.0)


@PLANTS.caught_by("lag-as-ledger-shows")
def lag_is_never_published(tables: Tables) -> None:
    remove(tables, "matcher_lag_ms_max")
    lengthen(tables)


def lengthen(tables: Tables) -> None:
    """Let every order wait for a second before it is sequenced, as the ledger shows; the metrics keep their values."""
    orders = tables["orders"]
    tables["orders"] = orders.assign(accepted_ns=orders["accepted_ns"] - 10**9)


# The load balancer and the tables


@PLANTS.caught_by("balancer-counts-requests")
def the_balancer_counts_half_of_the_requests(tables: Tables) -> None:
    scale(tables, "edge_requests", 0.5)


@PLANTS.caught_by("balancer-counts-requests")
def the_balancer_counts_requests_twice(tables: Tables) -> None:
    scale(tables, "edge_requests", 3)


@PLANTS.caught_by("balancer-tells-errors-apart")
def the_balancers_own_errors_are_not_counted(tables: Tables) -> None:
    assert (tables["series"].loc[tables["series"]["name"] == "edge_5xx", "value"] > 0).any()
    remove(tables, "edge_5xx")


@PLANTS.caught_by("balancer-tells-errors-apart", "errors-as-balancer-counted")
def errors_of_tasks_look_like_the_balancers(tables: Tables) -> None:
    """Tasks answer 503 with a page like the load balancer's, and count no error: clients cannot tell them apart."""
    add_minute(tables, "target_5xx", 900.0)


@PLANTS.caught_by("errors-as-balancer-counted", "errors-counted")
def tasks_count_errors_that_no_target_answered(tables: Tables) -> None:
    add_minute(tables, "http_5xx", 900.0)


@PLANTS.caught_by("response-time-as-clients-saw")
def the_balancer_measures_less_than_clients_waited(tables: Tables) -> None:
    """Clients waited for 500 ms, and the load balancer says 0.1 ms."""
    attempts = tables["attempts"]
    later = attempts["invoked_ns"] > tables["past"]["ts_ns"].max() + 500_000_000
    for column in ("intended_ns", "invoked_ns"):
        attempts.loc[later, column] -= 500_000_000
    series = tables["series"]
    series.loc[series["name"] == "target_response_time_s_p95", "value"] = 0.0001


@PLANTS.caught_by("throttles-counted")
def throttled_calls_are_not_counted(tables: Tables) -> None:
    """The objective on throttled calls holds for whatever a build does to its tables."""
    remove(tables, "store_throttled")


@PLANTS.caught_by("throttles-counted")
def calls_are_counted_as_throttled_that_no_table_throttled(tables: Tables) -> None:
    scale(tables, "store_throttled_matcher", 9)


@PLANTS.caught_by("one-writer-a-market")
def two_matchers_write_one_market(tables: Tables) -> None:
    add_minute(tables, "transaction_conflicts@markets", 900.0)


@PLANTS.caught_by("receives-wait")
def matchers_receive_in_a_hot_loop(tables: Tables) -> None:
    add_minute(tables, "queue_empty_receives", 30_000.0)


def add_minute(tables: Tables, name: str, value: float) -> None:
    at = tables["series"]["t"].min()
    edits.add(tables, "series", SERIES_COLUMNS, {"name": name, "t": at, "value": value})
