"""Hashes, numbers of ids, columns in memory and in files, and texts proved equal without parsing."""

from __future__ import annotations

import json
import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.integrity.arrays import hashing, ids
from kit.integrity.arrays.columns import Columns, ColumnStorage
from kit.integrity.arrays.grouping import firsts, lasts, paired, present, spread, totals, unpaired
from kit.integrity.arrays.ids import NO_ID, number_ids
from kit.integrity.arrays.json_templates import JsonTemplates, empty
from kit.integrity.evidence.stream_tables import MarketRanges

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
TEXTS = st.lists(st.text(max_size=30), min_size=1, max_size=30)


@QUICK
@given(TEXTS)
def test_equal_texts_have_equal_hashes_and_others_do_not(texts):
    """In any slice of any array, dictionary encoded or not. Only the empty text is 0."""
    whole = hashing.texts(pa.array(texts, pa.string()))
    again = hashing.texts(pa.array(["before", *texts], pa.string()).slice(1))
    coded = hashing.texts(pa.array(texts, pa.string()).dictionary_encode())
    assert whole.tolist() == again.tolist() == coded.tolist()
    assert whole.tolist() == [hashing.one(text) for text in texts]
    assert len(set(whole.tolist())) == len(set(texts))
    assert [number == 0 for number in whole.tolist()] == [text == "" for text in texts]


@pytest.mark.parametrize("form", ["{:08d}", "run-o{}", "{0:016d}{0:016d}", "{:x}", "ACME-{}-{}"])
def test_ids_that_count_up_do_not_collide(form):
    texts = [form.format(number, number % 7) for number in range(100_000)]
    assert len(np.unique(hashing.texts(pa.array(texts)))) == len(texts)


def test_the_order_of_fields_matters():
    first, second = np.array([1], dtype=np.int64), np.array([2], dtype=np.int64)
    assert hashing.rows(first, second) != hashing.rows(second, first)


@pytest.mark.parametrize("cells", [3, 50, 10_000])
def test_ids_are_numbered_alike_in_one_part_or_many(cells, monkeypatch):
    monkeypatch.setattr(ids, "CELLS_MAX", cells)
    names = [["a", "b", "", "c"] * 9, ["c", "", "d"] * 11]
    tables = []
    for column in names:
        table = Columns(ColumnStorage())
        table.append({"id": hashing.texts(pa.array(column))})
        tables.append(table)
    assert number_ids([(table, "id") for table in tables]) == 4
    numbers = {}
    for column, table in zip(names, tables, strict=True):
        for name, number in zip(column, table["id"].tolist(), strict=True):
            assert numbers.setdefault(name, number) == number
    assert numbers.pop("") == NO_ID
    assert sorted(numbers.values()) == [0, 1, 2, 3]


@pytest.mark.parametrize("memory_bytes_max", [0, 30, 1 << 20])
def test_columns_are_what_was_appended_wherever_they_live(memory_bytes_max, tmp_path, monkeypatch):
    """Small numbers first, then one that needs 64 bits, and files if memory is full."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage = ColumnStorage(memory_bytes_max)
    table, rows = Columns(storage, 10), []
    for values in ([1, 2], [3], [2**40], [-(2**62), 5]):
        table.append({"n": np.array(values), "b": np.array(values) > 2})
        rows += values
    assert table["n"].tolist() == rows
    assert table["b"].tolist() == [value > 2 for value in rows]
    assert table.where(np.array(rows) > 2).where(np.array([2, 0]))["n"].tolist() == [5, 3]
    table.reorder(np.arange(len(rows))[::-1])
    assert table["n"].tolist() == rows[::-1]
    assert any(tmp_path.iterdir()) is (memory_bytes_max < 1 << 20)
    storage.close()
    assert not any(tmp_path.iterdir())


def test_a_table_without_rows_has_every_column():
    table = Columns(ColumnStorage())
    assert len(table) == len(table["anything"]) == len(table.where(table["x"] > 0)["y"]) == 0


@QUICK
@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(-(2**40), 2**40)), max_size=40))
def test_sums_and_first_rows_are_those_of_a_dictionary(rows):
    numbers = np.array([number for number, _ in rows], dtype=np.int32)
    amounts = np.array([amount for _, amount in rows], dtype=np.int64)
    sums, first = dict.fromkeys(range(7), 0), dict.fromkeys(range(7), -1)
    for place, (number, amount) in enumerate(rows):
        if number >= 0:
            sums[number] += amount
            first[number] = place if first[number] < 0 else first[number]
    assert totals(numbers, amounts, 7).tolist() == list(sums.values())
    assert firsts(numbers, 7).tolist() == list(first.values())
    last = {number: place for place, (number, _) in enumerate(rows)}
    assert lasts(numbers, 7).tolist() == [last.get(number, -1) for number in range(7)]
    assert present(numbers, 7).tolist() == [place >= 0 for place in first.values()]
    assert spread(numbers, amounts, 7, 3).tolist() == [rows[p][1] if p >= 0 else 3 for p in first.values()]


@QUICK
@given(st.integers(-1, 2**31 - 1), st.integers(-1, 2**31 - 1))
def test_a_pair_leads_back_to_its_numbers(first, second):
    assert unpaired(paired(np.array([first]), np.array([second]))[0]) == (first, second)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=40), st.booleans())
def test_an_event_is_found_by_market_and_seq(rows, gaps):
    """With gaps, repeats and unknown markets."""
    rows = sorted((market, seq * 2 if gaps else seq) for market, seq in rows)
    events = Columns(ColumnStorage())
    events.append({"market": np.array([m for m, _ in rows]), "seq": np.array([s for _, s in rows])})
    wanted = [(market, seq) for market in range(4) for seq in range(26)]
    market, seq = (np.array(part) for part in zip(*wanted, strict=True))
    found = MarketRanges(events).find(events, market, seq)
    assert found.tolist() == [rows.index(one) if one in rows else -1 for one in wanted]


# Texts proved equal by their bytes

COLUMNS = {"orderId": "order_id", "qty": "qty", "side": "side"}
NASTY = st.sampled_from(["a", "b1", "", 'x","qty":9,"y":"', "\\", "ü", "\n", "0"])


def _same(texts: list[str], rows: dict[str, list[Any]]) -> list[bool]:
    batch = {name: pa.array(values) for name, values in rows.items()}
    shapes = sum(empty(column).astype(np.int64) << bit for bit, column in enumerate(batch.values()))
    templates = JsonTemplates(COLUMNS, frozenset(COLUMNS.values()))
    return templates.same(pa.array(texts), batch, np.arange(len(texts)), shapes).tolist()  # type: ignore[arg-type]


@QUICK
@given(
    st.lists(st.tuples(NASTY, st.integers(0, 12), NASTY), min_size=2, max_size=8),
    st.lists(st.tuples(NASTY, st.integers(0, 12), NASTY), min_size=2, max_size=8),
    st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")]),
    st.booleans(),
)
def test_texts_proved_equal_are_equal_when_parsed(held, said, separators, shuffled):
    """There is no false proof, whatever the values are. Some texts hold the values of other rows."""
    size = min(len(held), len(said))
    rows = {name: [row[n] for row in held[:size]] for n, name in enumerate(("order_id", "qty", "side"))}
    texts = []
    for place in range(size):
        order, qty, side = held[place] if place % 2 else said[place]
        fields = {"orderId": order, "qty": qty, "side": side, "at": 17 + place}
        names = sorted(fields) if shuffled else list(fields)
        texts.append(json.dumps({name: fields[name] for name in names}, separators=separators, ensure_ascii=False))
    for place, same in enumerate(_same(texts, rows)):
        told = json.loads(texts[place])
        assert not same or all(told[name] == rows[column][place] for name, column in COLUMNS.items())


def test_plain_texts_of_one_layout_are_proved_equal():
    """Otherwise the proof would be sound but useless."""
    count = 50
    rows = {"order_id": [f"o{n}" for n in range(count)], "qty": list(range(1, count + 1)), "side": ["BUY"] * count}
    texts = [
        json.dumps({"orderId": f"o{n}", "side": "BUY", "qty": n + 1, "status": "ACCEPTED", "acceptedAt": 1_000 + n})
        for n in range(count)
    ]
    assert _same(texts, rows) == [True] * count
    texts[7] = texts[7].replace("o7", "o8")
    texts[9] = texts[9].replace(" 10,", " 11,")
    texts[11] = texts[11].replace("1011", "011")
    assert [place for place, same in enumerate(_same(texts, rows)) if not same] == [7, 9, 11]


def test_a_violation_in_the_first_text_leaves_the_others_provable():
    rows = {"order_id": ["a", "b", "c"], "qty": [1, 2, 3], "side": ["BUY"] * 3}
    texts = [
        json.dumps({"orderId": order, "qty": 9 if order == "a" else qty, "side": "BUY"})
        for order, qty in zip(rows["order_id"], rows["qty"], strict=True)
    ]
    assert _same(texts, rows) == [False, True, True]
