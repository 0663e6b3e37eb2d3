"""Mutants: what is mutated and what is left alone, ids that last, a choice by seed, and diffs that apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import power
from kit.build.changes import changed_tree
from tests.mutation import survivors
from tests.mutation.mutants import Mutant, choose, mutants_of
from tests.mutation.results import Results, triage
from tests.mutation.runner import ROOT

QUEUES = ROOT / "paperbroker/storage/queues.py"


def mutants(folder: Path, source: str) -> list[Mutant]:
    path = folder / "module.py"
    path.write_text(source)
    return list(mutants_of(path, folder))


def changed(folder: Path, source: str, operator: str) -> set[str]:
    """Return the bodies of a function's mutants of one operator, each in one line."""
    found = [mutant.after for mutant in mutants(folder, source) if mutant.operator == operator]
    return {" ".join(" ".join(text.splitlines()[1:]).split()) for text in found}


@pytest.mark.parametrize(
    ("operator", "line", "expected"),
    [
        (
            "drop-entry",
            'return {"Item": item, "ConditionExpression": c}',
            {'return {"Item": item}', 'return {"ConditionExpression": c}'},
        ),
        ("drop-keyword", "return get(key, ConsistentRead=True)", {"return get(key)"}),
        ("alter-condition", 'return "attribute_not_exists(pk)"', {'return "attribute_exists(pk)"'}),
        ("narrow-identity", 'return f"key#{client}{key}"', {'return f"key#{key}"', 'return f"key#{client}"'}),
        ("narrow-identity", "return digest(client, key)", {'return digest("", key)', 'return digest(client, "")'}),
        ("swap-word", "return order.price", {"return order.qty"}),
        ("swap-word", "return Side.BUY", {"return Side.SELL"}),
        ("swap-arguments", "return store(order_id, client_id)", {"return store(client_id, order_id)"}),
        ("drop-statement", "self.outbound.offer(event)", {"pass"}),
        ("drop-guard", "if taken: return None", {"if False: return None"}),
        ("drop-raise", "raise Refused(order)", {"pass"}),
        (
            "alter-except",
            "try: a()\n    except (A, B): b()",
            {f"try: a() except {kind}: b()" for kind in ("Exception", "A", "B")},
        ),
        ("drop-retry", "for _ in range(TRIES): a()", {"for _ in range(1): a()"}),
        ("drop-lock", "with self._lock: a()", {"if True: a()"}),
        ("reorder", "forget(order)\n    send(order)", {"send(order) forget(order)"}),
        ("drop-order", "return sorted(orders)", {"return list(orders)"}),
        ("alter-status", "return 409", {"return 400"}),
        ("alter-comparison", "return left < right", {"return left <= right", "return left >= right"}),
        ("alter-number", "return left - 1", {"return left - 2", "return left - 0"}),
        ("alter-number", "return 0.5", {"return 1.0", "return 0.25"}),
        ("alter-arithmetic", "return -cash", {"return cash"}),
        ("alter-logic", "return full or not rests", {"return full", "return not rests", "return full or (rests)"}),
    ],
)
def test_an_operator_makes_the_changes_of_its_kind(tmp_path, operator, line, expected):
    assert changed(tmp_path, f"def f(order, client_id, order_id):\n    {line}\n", operator) == expected


def test_a_function_without_a_result_returns_at_once(tmp_path):
    found = changed(tmp_path, "def f(a) -> None:\n    send(a)\n    forget(a)\n", "return-early")
    assert found == {"return send(a) forget(a)"}


@pytest.mark.parametrize(
    "source",
    [
        '"""Retry 3 times."""\n',
        "def f(a: dict[str, int] = {}) -> list[int]:\n    '''Return 1.'''\n",
        "from a import b\n",
        "def f(self):\n    self._log.info('sent', orders=1)\n",
        "class Store(Protocol):\n    def get(self, limit: int = 3) -> None: ...\n",
    ],
    ids=["docstring", "annotation", "import", "log", "protocol"],
)
def test_what_breaks_no_promise_is_left_alone(tmp_path, source):
    assert mutants(tmp_path, source) == []


def test_texts_of_errors_are_left_alone(tmp_path):
    found = mutants(tmp_path, "def f(a):\n    raise Bad(f'{a} of {a + 1}')\n")
    assert [mutant.operator for mutant in found] == ["drop-raise"]


def test_ids_last_when_other_lines_move(tmp_path):
    function = "def f(a, b):\n    if a < b:\n        return a + 1\n    return b\n"
    before = {mutant.id for mutant in mutants(tmp_path, function)}
    after = {mutant.id for mutant in mutants(tmp_path, f"import x\n\n\ndef g():\n    x.y()\n\n\n{function}")}
    assert before and before < after


def test_the_same_change_twice_in_a_function_has_two_ids(tmp_path):
    found = mutants(tmp_path, "def f(a):\n    send(a)\n    wait(a)\n    send(a)\n    wait(a)\n")
    assert len({mutant.id for mutant in found}) == len(found)


def test_a_larger_count_only_adds_and_the_operators_take_turns():
    every = list(mutants_of(QUEUES, ROOT))
    few, more = choose(every, seed=3, count=10), choose(every, seed=3, count=20)
    assert more[:10] == few and choose(reversed(every), seed=3, count=10) == few
    assert len({mutant.operator for mutant in few}) == 10
    assert choose(every, seed=4, count=10) != few


def test_a_result_counts_for_exactly_the_same_mutant(tmp_path):
    first, second = mutants(tmp_path, "def f(a):\n    return a + 1\n")[:2]
    Results(tmp_path / "r.jsonl").add(first, {"status": "killed"})
    results = Results(tmp_path / "r.jsonl")
    assert (results.get(first) or {})["status"] == "killed" and results.get(second) is None
    (moved,) = [each for each in mutants(tmp_path, "\ndef f(a):\n    return a + 1\n") if each.id == first.id]
    assert results.get(moved) is None


def test_survivors_are_changes_that_a_power_measurement_takes(tmp_path, monkeypatch):
    chosen = choose(mutants_of(QUEUES, ROOT), seed=1, count=12)
    survivors.write(chosen, tmp_path / "changes")
    for mutant in chosen:
        tree = changed_tree(ROOT / "paperbroker", mutant.id, tmp_path / "changes")
        assert tree["paperbroker/storage/queues.py"].decode() == mutant.after
    monkeypatch.setattr("kit.gameday.parameters.CHANGES", tmp_path / "changes")
    session = power.begin(reports=tmp_path / "reports", changes_dir=tmp_path / "changes", good=0)
    assert {case.change for case in session.plan.cases} == {mutant.id for mutant in chosen}


@pytest.mark.slow
def test_every_entry_of_the_triage_is_a_mutant_of_the_tree():
    """An entry whose code has changed must be looked at again."""
    paths = sorted((ROOT / "paperbroker").rglob("*.py"))
    known = {mutant.id for path in paths for mutant in mutants_of(path, ROOT)}
    assert sorted(triage().keys() - known) == []
