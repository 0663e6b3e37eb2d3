"""Plant anomalies in the status of answers, and messages that come late. The ledger is right."""

from __future__ import annotations

import json
from typing import Any

from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()


def _answered_twice(tables: Tables, op: str) -> int:
    """The row of a retry or early resubmission that was answered as known, and whose key was answered as new before."""
    attempts = tables["attempts"][tables["attempts"]["op"] == op]
    new = attempts[attempts["status"].isin([201, 202])]
    keys = set(zip(new["client_id"], new["idempotency_key"], strict=True))
    known = attempts[attempts["status"] == 200]
    return [row.Index for row in known.itertuples() if (row.client_id, row.idempotency_key) in keys][0]  # noqa: RUF015


@PLANTS.caught_by("answered-as-new-once")
def retry_of_an_order_is_answered_as_new(tables: Tables) -> None:
    edits.change(tables, "attempts", _answered_twice(tables, "order"), status=201)


@PLANTS.caught_by("answered-as-new-once")
def retry_of_a_cancel_is_answered_as_new(tables: Tables) -> None:
    edits.change(tables, "attempts", _answered_twice(tables, "cancel"), status=202)


@PLANTS.caught_by("answered-as-new-once")
def new_order_is_answered_as_known(tables: Tables) -> None:
    attempts = tables["attempts"]
    once = attempts[~attempts.duplicated(["client_id", "idempotency_key"], keep=False)]
    edits.change(tables, "attempts", once[once["status"] == 201].index[0], status=200)


@PLANTS.caught_by("answered-as-new-once")
def new_order_is_answered_with_another_success(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"op": "order", "kind": "first", "status": 201}, status=204)


def own_cancel(tables: Tables) -> dict[str, Any]:
    """A cancel by its own client, long after the order was acknowledged."""
    attempts = tables["attempts"]
    acknowledged = set(attempts[(attempts["op"] == "order") & (attempts["outcome"] == "ok")]["order_id"])
    filled = edits.rows(tables, "orders", status="FILLED")
    order = filled[filled["order_id"].isin(acknowledged)].iloc[0]
    return {"op": "cancel", "client_id": order["client_id"], "idempotency_key": "late", "order_id": order["order_id"]}


@PLANTS.caught_by("own-orders-cancellable")
def cancel_of_an_acknowledged_order_finds_no_order(tables: Tables) -> None:
    edits.add_attempt(tables, own_cancel(tables) | {"status": 404, "outcome": "fail", "reply": "{}"})


@PLANTS.caught_by("own-orders-cancellable")
def cancel_by_the_orders_own_client_is_forbidden(tables: Tables) -> None:
    edits.add_attempt(tables, own_cancel(tables) | {"status": 403, "outcome": "fail", "reply": "{}"})


@PLANTS.caught_by("taken-order-id-refused")
def order_with_a_taken_id_is_acknowledged(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"kind": "taken_order_id"}, status=201, outcome="ok", reply="{}")


@PLANTS.caught_by("taken-order-id-refused")
def order_with_a_taken_id_is_refused_for_another_reason(tables: Tables) -> None:
    reply = json.dumps({"error": "IdempotencyKeyReused"})
    edits.change_first(tables, "attempts", {"kind": "taken_order_id"}, reply=reply)


@PLANTS.caught_by("malformed-requests-refused")
def malformed_order_is_acknowledged(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"kind": "malformed"}, status=201, outcome="ok", reply="{}")


@PLANTS.caught_by("malformed-requests-refused")
def refusal_of_a_malformed_order_names_another_field(tables: Tables) -> None:
    reply = json.dumps({"error": "ValidationError", "field": "price"})
    edits.change_first(tables, "attempts", {"kind": "malformed"}, reply=reply)


@PLANTS.caught_by("malformed-requests-refused")
def malformed_order_is_the_servers_fault(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"kind": "malformed"}, status=500, outcome="info", reply="{}")


@PLANTS.caught_by("malformed-requests-refused")
def read_that_names_no_client_is_answered_with_the_order(tables: Tables) -> None:
    reply = edits.row(tables, "attempts", op="get_order", kind="first", status=200)["reply"]
    where = {"op": "get_order", "kind": "malformed"}
    edits.change_first(tables, "attempts", where, status=200, outcome="ok", reply=reply)


@PLANTS.caught_by("malformed-requests-refused")
def refusal_of_a_read_shows_the_order(tables: Tables) -> None:
    reply = json.dumps({"error": "ValidationError", "field": "clientId", "status": "FILLED"})
    edits.change_first(tables, "attempts", {"op": "get_order", "kind": "malformed"}, reply=reply)


@PLANTS.caught_by("malformed-requests-refused")
def read_that_names_no_client_is_refused_as_anothers(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"op": "get_order", "kind": "malformed"}, status=403, reply="{}")


@PLANTS.caught_by("malformed-requests-refused")
def cancel_that_names_no_client_is_acknowledged(tables: Tables) -> None:
    where = {"op": "cancel", "kind": "malformed"}
    edits.change_first(tables, "attempts", where, status=202, outcome="ok", reply="{}")


@PLANTS.caught_by("no-phantom-cancels")
def malformed_cancel_without_an_answer_is_sequenced(tables: Tables) -> None:
    row = edits.rows(tables, "attempts", op="cancel", kind="malformed").index[0]
    sent = tables["attempts"].loc[row].to_dict()
    edits.change(tables, "attempts", row, status=0, outcome="info", error="timeout")
    event = edits.row(tables, "events", type="cancelled", reason="client")
    names = ("order_id", "client_id", "idempotency_key")
    edits.add_event(tables, event, **{name: sent[name] for name in names})


@PLANTS.caught_by("refusals-say-when")
def refusal_does_not_say_when_to_come_back(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"status": 429}, retry_after_s=0)


@PLANTS.caught_by("refusals-say-when")
def refusal_tells_the_time_in_milliseconds(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"status": 429}, retry_after_s=1_000)


@PLANTS.caught_by("refusals-say-when")
def server_error_does_not_say_when_to_come_back(tables: Tables) -> None:
    edits.change_first(tables, "attempts", {"status": 429}, status=503, outcome="info", retry_after_s=0)


@PLANTS.caught_by("order-id-names-one-order", "one-event-per-order")
def two_orders_are_acknowledged_with_one_id(tables: Tables) -> None:
    sequenced = set(edits.rows(tables, "events", type="accepted")["order_id"])
    attempts = edits.rows(tables, "attempts", op="order", kind="first", status=201)
    first = attempts[attempts["order_id"].isin(sequenced)].iloc[0].to_dict()
    event = edits.row(tables, "events", type="accepted", order_id=first["order_id"])
    reply = json.dumps(json.loads(first["reply"]) | {"idempotencyKey": "rival"})
    rival = first | {"kind": "contested_order_id", "idempotency_key": "rival", "reply": reply}
    edits.add_attempt(tables, {name: value for name, value in rival.items() if name != "op_id"})
    edits.add_event(tables, event, idempotency_key="rival", event_id="rival")


@PLANTS.caught_by("free-order-id-not-refused")
def order_with_a_free_id_is_refused(tables: Tables) -> None:
    taken = edits.row(tables, "attempts", kind="taken_order_id")
    again = {name: taken[name] for name in ("op", "client_id", "idempotency_key", "symbol", "status", "reply")}
    edits.add_attempt(tables, again | {"order_id": "free", "qty": 1, "outcome": "fail"})


@PLANTS.caught_by("unknown-order-not-found")
def read_of_an_unknown_order_is_forbidden(tables: Tables) -> None:
    edits.add_read(tables, "nobody-sent-it", client_id="c001", status=403, outcome="fail", reply="{}")


@PLANTS.caught_by("unknown-order-not-found")
def cancel_of_an_unknown_order_is_acknowledged(tables: Tables) -> None:
    row = {"op": "cancel", "order_id": "nobody-sent-it", "client_id": "c001", "idempotency_key": "x-nobody"}
    edits.add_attempt(tables, row | {"status": 202, "outcome": "ok", "reply": "{}"})


@PLANTS.caught_by("unknown-order-not-found")
def read_of_an_unknown_order_is_the_servers_fault(tables: Tables) -> None:
    edits.add_read(tables, "nobody-sent-it", client_id="c001", status=500, outcome="info", reply="{}")


@PLANTS.caught_by("accepted-at-is-true")
def time_of_acceptance_is_stored_in_milliseconds(tables: Tables) -> None:
    tables["orders"] = tables["orders"].assign(accepted_ns=tables["orders"]["accepted_ns"] // 10**6)


@PLANTS.caught_by("accepted-at-is-true")
def time_of_acceptance_is_stored_in_another_time_zone(tables: Tables) -> None:
    tables["orders"] = tables["orders"].assign(accepted_ns=tables["orders"]["accepted_ns"] - 3_600 * 10**9)


@PLANTS.caught_by("accepted-at-is-true")
def read_tells_another_time_of_acceptance(tables: Tables) -> None:
    read = edits.row(tables, "attempts", op="get_order", status=200)
    reply = json.loads(read["reply"])
    edits.change_first(
        tables,
        "attempts",
        {"op": "get_order", "status": 200},
        reply=json.dumps(reply | {"acceptedAt": reply["acceptedAt"] + 1}),
    )


@PLANTS.caught_by("accepted-at-is-true")
def acknowledgement_tells_another_time_of_acceptance(tables: Tables) -> None:
    first = edits.row(tables, "attempts", op="order", kind="first", status=201)
    reply = json.dumps(json.loads(first["reply"]) | {"acceptedAt": 7})
    edits.change_first(tables, "attempts", {"op": "order", "kind": "first", "status": 201}, reply=reply)


@PLANTS.caught_by("applied-events-marked")
def event_is_not_marked_as_applied(tables: Tables) -> None:
    tables["marks"] = tables["marks"].iloc[1:]


@PLANTS.caught_by("applied-events-marked")
def mark_expires_before_a_message_that_was_kept(tables: Tables) -> None:
    tables["marks"] = tables["marks"].assign(expires_s=tables["marks"]["expires_s"] - 2 * 86_400)


@PLANTS.caught_by("applied-events-marked")
def mark_expires_in_milliseconds(tables: Tables) -> None:
    tables["marks"] = tables["marks"].assign(expires_s=tables["marks"]["expires_s"] * 1000)


@PLANTS.caught_by("applied-events-marked")
def mark_never_expires(tables: Tables) -> None:
    tables["marks"] = tables["marks"].assign(expires_s=0)


@PLANTS.caught_by("no-phantom-orders")
def malformed_order_without_an_answer_is_sequenced(tables: Tables) -> None:
    row = edits.rows(tables, "attempts", kind="malformed").index[0]
    sent = tables["attempts"].loc[row].to_dict()
    edits.change(tables, "attempts", row, status=0, outcome="info", error="timeout")
    event = edits.row(tables, "events", type="accepted")
    names = {"order_id": sent["order_id"], "client_id": sent["client_id"], "idempotency_key": sent["idempotency_key"]}
    edits.add_event(tables, event, **names)


@PLANTS.caught_by("reads-as-ordered")
def order_is_read_with_the_key_of_another_order(tables: Tables) -> None:
    read = edits.row(tables, "attempts", op="get_order", status=200)
    body = json.loads(read["reply"]) | {"idempotencyKey": "another"}
    edits.add_read(tables, read["order_id"], reply=json.dumps(body))


@PLANTS.caught_by("stream-on-time")
def message_comes_eleven_seconds_late(tables: Tables) -> None:
    """The last message of a market, on a connection that was open all the time."""
    stream = tables["stream"]
    last = stream[stream["symbol"] == "ACME"].index[-1]
    edits.change(tables, "stream", last, received_ns=int(stream["received_ns"][last]) + 11 * 10**9)
