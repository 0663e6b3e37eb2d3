"""The function's scan of a ledger and the judge's checks apply one rule: they find the same, and count the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kit import integrity, ledger_rules
from kit.model import Status
from kit.pipeline.assertion.ledger_scan import Event, Part, Scanned, scan
from tests.histories import execution, planted
from tests.histories.run_folder import judge
from tests.pipeline.ledger_tables import parts

NAMES = tuple(rule.name for rule in ledger_rules.RULES)
SEEDS = st.integers(0, 10_000)
QUICK = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
golden = cache(execution.golden)
PLANTS = [(plant, names) for plant, names in planted.PLANTS if set(names) & set(NAMES)]


def by_name(scanned: list[Scanned]) -> dict[str, Scanned]:
    return {one.rule.name: one for one in scanned}


def disagreements(tables: Any) -> list[tuple[str, str, str]]:
    """Rules whose scan and check differ in status or count."""
    found = by_name(scan(parts(tables["events"])))
    stored_twice = bool(tables["orders"].duplicated(["client_id", "idempotency_key"]).any())
    differ = []
    for name, judged in judge(tables, *NAMES).items():
        mine = found[name]
        if name == ledger_rules.EXACTLY_ONCE_PER_KEY.name and stored_twice and not mine.violations:
            continue  # the scan does not read the orders table
        if judged.status is Status.INVALID and "nothing to check" not in judged.detail:
            continue  # other evidence of the run is missing or damaged, which a ledger alone does not show
        if (mine.status, mine.violations) != (judged.status.value, judged.measured or 0):
            differ.append((name, mine.detail, judged.detail))
    return differ


def test_every_rule_is_a_check_of_the_judge_in_the_same_words():
    checks = {check.name: check for check in integrity.CHECKS}
    for rule in ledger_rules.RULES:
        check = checks[rule.name]
        assert (check.noun, check.hold, check.broke) == (rule.noun, rule.hold, rule.broke)


@QUICK
@given(SEEDS, st.booleans())
def test_scan_and_judge_agree_on_any_ledger(seed: int, without_idempotency: bool):
    tables = execution.play(execution.random_steps(seed, 200), without_idempotency=without_idempotency)
    assert disagreements(tables) == []


@pytest.mark.parametrize("plant", [plant for plant, _ in PLANTS], ids=lambda plant: plant.__name__)
def test_scan_and_judge_agree_on_every_planted_ledger(plant: Any):
    tables: Any = {name: table.copy() for name, table in golden().items()}
    plant(tables)
    assert disagreements(tables) == []


def test_the_planted_ledgers_show_every_rule_broken():
    assert {name for _, names in PLANTS for name in names} >= set(NAMES)


@QUICK
@given(SEEDS, st.sampled_from(PLANTS))
def test_scan_and_judge_agree_on_an_anomaly_in_any_ledger(seed: int, planting: Any):
    tables: Any = execution.play(execution.random_steps(seed, 300))
    try:
        planting[0](tables)
    except IndexError:
        assume(False)  # this history has no row to plant the anomaly in
    assert disagreements(tables) == []


@QUICK
@given(SEEDS, st.integers(0, 80), st.integers(0, 80))
def test_no_part_of_a_correct_ledger_breaks_a_rule(seed: int, first: int, end: int):
    """A window sees orders whose acceptance lies before it, and not the end of those at its end."""
    whole = parts(execution.play(execution.random_steps(seed, 200))["events"])
    windows = [
        Part(part.events[first : max(first, len(part.events) - end)], part.events[first - 1].seq if first else 0)
        for part in whole
        if first < len(part.events)
    ]
    assert [one.detail for one in scan(windows) if one.violations] == []


@pytest.mark.parametrize("window", [[], [Part([], 0)]])
def test_nothing_to_check_is_no_pass(window: list[Part]):
    assert {one.status for one in scan(window)} == {"invalid"}
    assert all(one.detail.startswith("nothing to check: no ") for one in scan(window))


def test_an_example_names_what_is_wrong():
    accepted = Event("ACME", 1, "accepted", "e1", "o1", "c1", "k1", 5)
    again = accepted._replace(seq=2, event_id="e2", order_id="o2")
    maker = Event("ACME", 3, "accepted", "e3", "m", "c2", "k9", 50)
    fill = Event("ACME", 4, "fill", "e1", qty=5, taker_order_id="o1", maker_order_id="m")
    events = [accepted, again, maker, fill, fill._replace(seq=6, event_id="e2", taker_order_id="o2")]
    details = {name: one.detail for name, one in by_name(scan([Part(events, 0)])).items()}
    assert details == {
        "no-double-fill": "1 of 2 orders were filled twice: key k1 of client c1 ordered 5 lots and got 10",
        "exactly-once-per-key": "1 of 2 keys were applied more than once: key k1 of client c1 was sequenced 2 times",
        "one-event-per-order": "all 3 orders were sequenced by one event",
        "gap-free-sequence": "1 of 5 ledger events do not carry the next number of their market: "
        "ACME goes from seq 4 to 6",
        "trades-within-orders": "all 2 trades are no more in each market than the orders that traded",
    }
