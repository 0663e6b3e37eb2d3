"""Check that the ledger holds exactly what clients sent and were acknowledged: nothing lost, invented or altered."""

from __future__ import annotations

import numpy as np

from kit.integrity.arrays.grouping import firsts, paired, present
from kit.integrity.arrays.json_columns import loads
from kit.integrity.evidence import order_content
from kit.integrity.evidence.client_tables import FAIL, OPENING
from kit.integrity.evidence.evidence import Evidence, acknowledged
from kit.integrity.findings.check import Checks, Result, by_key, by_order

CHECKS = Checks()


@CHECKS.add(
    "acknowledged-never-lost",
    noun="acknowledged keys",
    hold="are in the ledger",
    broke="are not in the ledger",
    needs=("attempts", "events", "run"),
)
def acknowledged_never_lost(evidence: Evidence) -> Result:
    """E2. Check that every acknowledged order is in the ledger.

    {keys with a 2xx, before or after the time-out} ⊆ {keys of accepted and rejected events}.
    """
    sent, size = evidence.sent, evidence.key_count
    confirmed = present(sent["key"][acknowledged(sent)], size)
    bad = np.flatnonzero(confirmed & ~_written(evidence))

    def example(key: int) -> str:
        client, name = evidence.client_and_key(key)
        return f"client {client} got a 2xx for key {name}, but no ledger event carries it"

    return by_key(evidence, examined=int(confirmed.sum()), bad=bad, example=example)


@CHECKS.add(
    "no-phantom-orders",
    noun="ledger orders",
    hold="were sent by a client",
    broke="were never sent by any client",
    needs=("attempts", "events", "run"),
)
def no_phantom_orders(evidence: Evidence) -> Result:
    """E5. Check that every order in the ledger was sent by a client.

    {keys of accepted and rejected events} ⊆ {keys sent}. An event without a key is a violation too.
    """
    asked = np.append(present(evidence.sent["key"], evidence.key_count), False)  # the last entry is for no key, −1
    tables = (evidence.accepted, evidence.rejected)
    orders = np.concatenate([table["order"] for table in tables])
    bad = np.concatenate([table["order"][~asked[table["key"]]] for table in tables])

    def example(order: int) -> str:
        table = next(table for table in tables if (table["order"] == order).any())
        row = evidence.first_row("events", table, order=order)
        return f"order {row['order_id']} of client {row['client_id']} at {row['market']} seq {row['seq']}"

    examined = int(present(orders, evidence.order_count).sum())
    return by_order(evidence, examined=examined, bad=bad, example=example)


@CHECKS.add(
    "refused-has-no-effect",
    noun="keys",
    hold="are in the ledger only if some attempt was not refused",
    broke="are in the ledger although every attempt was refused",
    needs=("attempts", "events", "run"),
)
def refused_has_no_effect(evidence: Evidence) -> Result:
    """E6. Check that an order whose every attempt was refused is not in the ledger.

    {keys whose every attempt is `fail`} ∩ {keys of accepted and rejected events} = ∅. After an `info` attempt the order
    may be in the ledger; `exactly-once-per-key` checks that it is there once.
    """
    sent, size = evidence.sent, evidence.key_count
    key, asked = sent["key"], present(sent["key"], size)
    maybe = present(key[(sent["outcome"] != FAIL) | acknowledged(sent)], size)
    bad = np.flatnonzero(asked & ~maybe & _written(evidence))

    def example(number: int) -> str:
        client, name = evidence.client_and_key(number)
        statuses = sorted(set(sent["status"][key == number].tolist()))
        return f"key {name} of client {client} was only ever answered {', '.join(map(str, statuses))}"

    return by_key(evidence, examined=int(asked.sum()), bad=bad, example=example)


@CHECKS.add(
    "sequenced-as-sent",
    noun="ledger orders",
    hold="equal what their client sent",
    broke="differ from what their client sent",
    needs=("attempts", "events", "run"),
)
def sequenced_as_sent(evidence: Evidence) -> Result:
    """E3a. Check that each accepted event has the content that its client sent.

    Market, side, type, tif, qty and price are those of the key's first attempt, and some attempt under the key carried
    its order id. MARKET orders are IOC and have no price, whatever was sent.
    """
    sent, accepted = evidence.sent, evidence.accepted
    opening = sent.where(np.isin(sent["kind"], OPENING))
    index = np.append(firsts(opening["key"], evidence.key_count), -1)[accepted["key"]]
    known = np.flatnonzero(index >= 0)
    key, order = accepted["key"][known], accepted["order"][known]
    differs = opening["content"][index[known]] != accepted["content"][known]
    # Most orders carry the order id of the first attempt: only the others are looked for among all attempts.
    other = np.flatnonzero(opening["order"][index[known]] != order)
    if len(other):
        mine = np.isin(sent["key"], key[other])
        carried = paired(sent["key"][mine], sent["order"][mine])
        differs[other] |= ~np.isin(paired(key[other], order[other]), carried)
    bad = order[differs]

    def example(number: int) -> str:
        at = known[differs & (order == number)][:1]
        row = evidence.rows("events", accepted["index"][at])[0]
        first = evidence.rows("attempts", opening["index"][index[at]])[0]
        wanted = order_content.canonical(first, order_content.CLIENT)
        differing = (
            order_content.differences(order_content.canonical(row), wanted, "sent")
            or "no attempt carried this order id"
        )
        return f"order {row['order_id']}: {differing}"

    examined = int(present(order, evidence.order_count).sum())
    return by_order(evidence, examined=examined, bad=bad, example=example)


@CHECKS.add(
    "acknowledged-as-sequenced",
    noun="acknowledged keys",
    hold="were sequenced with the content that was acknowledged",
    broke="were acknowledged with other content than was sequenced",
    needs=("attempts", "events", "run"),
)
def acknowledged_as_sequenced(evidence: Evidence) -> Result:
    """E3b. Check that each acknowledged key was acknowledged with the content of its accepted event.

    Compared are orderId, symbol, side, type, tif, qty and price in the key's first 2xx body. The body must not name
    another client or key.
    """
    accepted = evidence.accepted
    confirmed = evidence.sent.where(acknowledged(evidence.sent))
    confirmed = confirmed.where(np.argsort(confirmed["completed_ns"], kind="stable"))
    index = np.append(firsts(confirmed["key"], evidence.key_count), -1)[accepted["key"]]
    known = np.flatnonzero(index >= 0)
    key = accepted["key"][known]
    differs = confirmed["answer"][index[known]] != accepted["content"][known]
    differs |= confirmed["answer_order"][index[known]] != accepted["order"][known]
    bad = key[differs]

    def example(number: int) -> str:
        at = known[differs & (key == number)][:1]
        row = evidence.rows("events", accepted["index"][at])[0]
        answer = loads(evidence.rows("attempts", confirmed["index"][index[at]])[0]["reply"])
        found = {"order id": row["order_id"]} | order_content.canonical(row)
        found |= {"client": row["client_id"], "key": row["idempotency_key"]}
        wanted = {"order id": answer.get("orderId", "")} | order_content.canonical(answer, order_content.CLIENT)
        wanted |= {"client": answer.get("clientId", row["client_id"])}
        wanted |= {"key": answer.get("idempotencyKey", row["idempotency_key"])}
        return f"order {row['order_id']}: {order_content.differences(found, wanted, 'acknowledged')}"

    return by_key(evidence, examined=int(present(key, evidence.key_count).sum()), bad=bad, example=example)


def _written(evidence: Evidence) -> np.ndarray:
    size = evidence.key_count
    return present(evidence.accepted["key"], size) | present(evidence.rejected["key"], size)
