"""A past is what PaperBroker would have left: every check accepts it, and it is written as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit import past
from kit.dynamodb_items import table_of
from kit.errors import CloudError, EvidenceMissing
from kit.integrity import CHECKS
from kit.integrity.arrays.columns import ColumnStorage
from kit.integrity.evidence.assembly import read_evidence
from kit.integrity.findings.check import run_check
from kit.load import LoadPlan, past_operations
from kit.model import LEDGER_EVENT_COLUMNS, ORDER_COLUMNS, OUTBOX_COLUMNS, POSITION_COLUMNS, Deployment, Finding, Status
from kit.past import tables
from kit.past.records import ENDED_BEFORE_S, Past
from tests.histories.run_folder import write
from tests.histories.tables import table

ROOT = Path(__file__).parents[2]
PLAN = LoadPlan(api_url="http://x", markets=("ACME", "BOLT"), run_id="ab12", clients=12, past_orders=160)
# Those that need nothing but what clients sent and the exchange recorded, and find something in every past.
JUDGES = {
    "past-unchanged", "exactly-once-per-key", "one-event-per-order", "no-phantom-orders", "acknowledged-never-lost",
    "acknowledged-cancel-never-lost", "no-phantom-cancels", "sequenced-as-sent", "acknowledged-as-sequenced",
    "gap-free-sequence", "price-time-replay", "fills-are-legal", "order-state-equals-fills", "positions-equal-fills",
    "balances-sum-to-zero", "stored-as-sequenced", "accepted-equals-sequenced", "answered-as-new-once",
    "cancels-follow-orders",
}  # fmt: skip


def computed(plan: LoadPlan = PLAN) -> Past:
    operations = [operation._asdict() for operation in past_operations(plan)]
    return past.compute(operations, markets=plan.markets, source=ROOT / "paperbroker", now_ns=time.time_ns())


@pytest.fixture(scope="module")
def made() -> Past:
    return computed()


def judged(made: Past, folder: Path) -> dict[str, Finding]:
    """The findings on an exchange that has this past and to which a load sent nothing."""
    orders = [item for item in made.items["orders"] if item["pk"]["S"].startswith("order#")]
    write(
        {
            "past": None,
            "attempts": table("attempts", []),
            "events": table_of(made.items["ledger"], LEDGER_EVENT_COLUMNS),
            "orders": table_of(orders, ORDER_COLUMNS),
            "positions": table_of(made.items["positions"], POSITION_COLUMNS),
            "outbox": table_of([], OUTBOX_COLUMNS),
        },
        folder,
    )
    past.record(made, folder)
    evidence = read_evidence(folder, ColumnStorage())
    return {check.name: run_check(check, evidence) for check in CHECKS if check.name in JUDGES}


def test_every_check_of_orders_and_money_accepts_the_past(made, tmp_path):
    found = judged(made, tmp_path / "run")
    assert set(found) == JUDGES
    assert [(one.name, one.detail) for one in found.values() if one.status is not Status.PASS] == []


def test_the_past_has_everything_that_an_exchange_has_and_ended_an_hour_ago(made):
    kinds = {item["type"]["S"] for item in made.items["ledger"]}
    states = {item["status"]["S"] for item in made.items["orders"] if "status" in item}
    assert kinds == {"accepted", "fill", "cancelled", "rejected"}
    assert states >= {"FILLED", "CANCELLED", "OPEN", "PARTIALLY_FILLED"}
    assert {status for _, status, _ in made.answers} == {201, 202}
    assert max(at_ns for at_ns, _, _ in made.answers) < time.time_ns() - ENDED_BEFORE_S * 10**9
    assert sum(made.seqs(PLAN.markets)) == len(made.items["ledger"])


def test_an_order_that_paperbroker_refuses_is_no_past():
    operation = next(past_operations(PLAN))._asdict() | {"symbol": "NOPE"}
    with pytest.raises(EvidenceMissing, match=r"exit code 2: InvalidRequest: .*unknown market 'NOPE'"):
        past.compute([operation], markets=PLAN.markets, source=ROOT / "paperbroker", now_ns=1)


# Writing


class Tables:
    """A DynamoDB that answers batches as it is told: "throttle", "part" (returns all but the first item), or ""."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.sizes: list[int] = []

    def client(self, name: str) -> Tables:
        assert name == "dynamodb"
        return self

    def batch_write_item(self, *, RequestItems: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        ((name, requests),) = RequestItems.items()
        self.sizes.append(len(requests))
        answer = self._answers.pop(0) if self._answers else ""
        if answer == "throttle":
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "BatchWriteItem")
        done = requests[:1] if answer == "part" else requests
        self.written += [(name, one["PutRequest"]["Item"]) for one in done]
        left = requests[len(done) :]
        return {"UnprocessedItems": {name: left} if left else {}}


DEPLOYMENT = Deployment(
    stack_name="s", run_id="r", api_url="http://x", outputs={output: output for output in tables.TABLES.values()}
)


def test_every_item_is_written_once_and_a_markets_sequence_last(made):
    written = Tables()
    count = past.write(written, DEPLOYMENT, made)
    assert count == len(written.written) == sum(len(items) for items in made.items.values())
    assert max(written.sizes) == tables.BATCH_MAX
    names = [name for name, _ in written.written]
    assert names.index("MarketsTable") == len(names) - len(PLAN.markets)


def test_what_is_throttled_or_unprocessed_is_written_again(made):
    written, waited = Tables("throttle", "part", "throttle", "part"), []
    past.write(written, DEPLOYMENT, made, sleep=waited.append)
    keys = [str(item) for _, item in written.written]
    assert len(keys) == len(set(keys)) == sum(len(items) for items in made.items.values())
    assert len(waited) == 4


def test_a_table_that_refuses_to_the_last_is_named(made):
    refuses = Tables(*["throttle"] * 1_000)
    with pytest.raises(CloudError, match=r"table LedgerTable: 25 items were refused 12 times"):
        past.write(refuses, DEPLOYMENT, made, sleep=lambda wait_s: None)


def test_an_error_that_no_retry_heals_is_raised_at_once(made):
    class Denies(Tables):
        def batch_write_item(self, **_: Any) -> dict[str, Any]:
            self.sizes.append(1)
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "BatchWriteItem")

    denies = Denies()
    with pytest.raises(CloudError, match=r"past of s: .*AccessDenied"):
        past.write(denies, DEPLOYMENT, made, sleep=lambda wait_s: None)
    assert len(denies.sizes) <= len(made.items["ledger"]) / tables.BATCH_MAX + 1
