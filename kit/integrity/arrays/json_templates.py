"""Prove that JSON texts say what table rows hold, without parsing each text.

Texts of one kind have the same layout and differ only in their values. The layout is learnt from one parsed text. Then
the text that each row must have is written in this layout and compared byte for byte, which is five times as fast as
parsing.

Equal bytes prove equal values. Different bytes prove nothing: the text may have another field order or escapes, or may
really differ. The caller parses those texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from kit.integrity.arrays.parquet_table import to_numpy

# Arrow creates its functions at import, so the type checker knows none of them.
pc: Any = compute
# Texts of a layout that are tried as its template. Several, because the first of them may hold a violation.
MODELS_MAX = 3
# Numbers that repeat at least so often in the first rows are written once for each distinct value.
REPEATED_MIN, SAMPLE = 8, 512
SEPARATORS = ((",", ":"), (", ", ": "))


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonTemplate:
    """Constant texts around the values of the columns `slots`, with `free` digits before the last constant."""

    constants: tuple[str, ...]
    slots: tuple[str, ...]
    free: int = 0


class JsonTemplates:
    """The layouts of one kind of text. `columns`: JSON name → column. `empty_too` are empty where a text lacks them."""

    def __init__(self, columns: Mapping[str, str], empty_too: frozenset[str]) -> None:
        self._columns, self._empty_too = columns, empty_too
        self._known: dict[int, JsonTemplate] = {}
        self._tried: dict[int, int] = {}

    def same(self, texts: Any, rows: Mapping[str, Any], at: np.ndarray, shapes: np.ndarray) -> np.ndarray:
        """Return for each text whether it says what row `at[i]` of `rows` holds; false where that is not proven.

        Rows with equal numbers in `shapes` must have the same columns empty.
        """
        same, values = np.zeros(len(texts), dtype=bool), Values(rows)
        for shape in pd.unique(shapes).tolist():
            chosen = np.flatnonzero(shapes == shape)
            some = texts if len(chosen) == len(texts) else texts.take(pa.array(chosen))
            template = self._template(some, rows, at[chosen], shape)
            if template is not None:
                same[chosen] = _matches(template, some, values, at[chosen])
        return same

    def _template(self, texts: Any, rows: Mapping[str, Any], at: np.ndarray, shape: int) -> JsonTemplate | None:
        template = self._known.get(shape)
        models = 0
        while template is None and models < len(texts) and self._tried.get(shape, 0) < MODELS_MAX:
            self._tried[shape] = self._tried.get(shape, 0) + 1
            row = {column: rows[column][int(at[models])].as_py() for column in self._columns.values()}
            template = learn(texts[models].as_py(), row, self._columns, self._empty_too)
            models += 1
        if template is not None:
            self._known[shape] = template
        return template


def learn(
    text: str, row: Mapping[str, Any], columns: Mapping[str, str], empty_too: frozenset[str] = frozenset()
) -> JsonTemplate | None:
    """Derive the template from a text that says exactly what `row` holds; None if it does not.

    A number in the text's last field may have any value.
    """
    pairs = _pairs(text)
    if not pairs:
        return None
    separators = next((one for one in SEPARATORS if json.dumps(dict(pairs), separators=one) == text), None)
    if separators is None or any(
        row[column] for name, column in columns.items() if name not in dict(pairs) and column in empty_too
    ):
        return None
    comma, colon = separators
    constants, slots, open_ = [], [], "{"
    free = 0
    for index, (name, value) in enumerate(pairs):
        quote = '"' if isinstance(value, str) else ""
        column = columns.get(name)
        before = f"{open_}{json.dumps(name)}{colon}"
        if column is not None and type(value) is type(row[column]) and value == row[column]:
            constants.append(before + quote)
            slots.append(column)
            open_ = quote + comma
        elif column is None and type(value) is int and value >= 0 and index == len(pairs) - 1:
            free = len(str(value))
            constants.append(before)
            open_ = ""
        elif column is None and isinstance(value, str):
            open_ = f"{before}{json.dumps(value)}{comma}"
        else:
            return None
    return JsonTemplate(constants=(*constants, open_.removesuffix(comma) + "}"), slots=tuple(slots), free=free)


def _pairs(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return []
    flat = isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs)
    return pairs if flat and len(dict(pairs)) == len(pairs) else []


class Values:
    """A batch's columns as JSON texts, each made once."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows
        self._made: dict[str, Any] = {}

    def __getitem__(self, column: str) -> Any:
        """Return texts, or a dictionary array of texts; None where a value would need escapes."""
        if column not in self._made:
            made = _repeated(self._rows[column])
            texts = made.dictionary if isinstance(made, pa.DictionaryArray) else made
            self._made[column] = None if _needs_escapes(texts) else made
        return self._made[column]


@dataclass(frozen=True, slots=True)
class Coded:
    """A piece of the rows' texts that has few distinct values: these, and which of them each row has."""

    few: Any
    codes: np.ndarray

    def texts(self) -> Any:
        return self.few.take(pa.array(self.codes))

    def with_next(self, other: Coded) -> Coded:
        """Join two neighbouring pieces: every text of this one with every text of the other."""
        left, right = len(self.few), len(other.few)
        pairs = np.repeat(np.arange(left), right), np.tile(np.arange(right), left)
        few = pc.binary_join_element_wise(self.few.take(pa.array(pairs[0])), other.few.take(pa.array(pairs[1])), "")
        return Coded(few, self.codes * np.int32(right) + other.codes)


def written(template: JsonTemplate, values: Values, at: np.ndarray, end: Sequence[Any] = ()) -> Any:
    """Write the texts that these rows must have, up to the free digits, followed by `end`.

    Returns None where a value would have to be escaped.
    """
    indices, pieces, constants = pa.array(at), [], list(template.constants)
    for slot, column in enumerate(template.slots):
        held = values[column]
        if held is None:
            return None
        if isinstance(held, pa.DictionaryArray):
            # Join the constants around to the few distinct texts, not to the many rows.
            few = pc.binary_join_element_wise(constants[slot], held.dictionary, constants[slot + 1], "")
            _put(pieces, Coded(few, to_numpy(held.indices).take(at).astype(np.int32, copy=False)))
            constants[slot + 1] = ""
        else:
            pieces += [constants[slot], held.take(indices)]
    pieces += [constants[len(template.slots)], *end]
    laid_out = (piece.texts() if isinstance(piece, Coded) else piece for piece in pieces)
    return pc.binary_join_element_wise(*(piece for piece in laid_out if not isinstance(piece, str) or piece), "")


def _put(pieces: list[Any], piece: Coded) -> None:
    """Add a piece, joined with the last one if they have few combinations: the cost grows with the pieces of a row."""
    last = pieces[-1] if pieces else None
    if isinstance(last, Coded) and len(last.few) * len(piece.few) * REPEATED_MIN <= len(piece.codes):
        pieces[-1] = last.with_next(piece)
    else:
        pieces.append(piece)


def _repeated(values: Any) -> Any:
    """Return the values as texts, in a dictionary array if they repeat a lot."""
    if isinstance(values, pa.DictionaryArray) or pa.types.is_string(values.type):
        return values
    if len(values[:SAMPLE].unique()) * REPEATED_MIN > min(SAMPLE, len(values)):
        return values.cast(pa.string())
    coded = values.dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices, coded.dictionary.cast(pa.string()))


def _matches(template: JsonTemplate, texts: Any, values: Values, at: np.ndarray) -> np.ndarray:
    end, digits, fits = template.constants[-1], None, None
    if template.free:
        size = len(end.encode())
        digits = pc.binary_slice(texts.cast(pa.binary()), -template.free - size, -size).view(pa.string())
        # A number as JSON writes it: digits only, without a leading zero.
        fits = pc.and_(pc.ascii_is_decimal(digits), pc.invert(pc.starts_with(digits, "0")))
        fits = pc.and_(fits, pc.equal(pc.binary_length(digits), template.free))
    wanted = written(template, values, at, () if digits is None else (digits, end))
    if wanted is None:
        return np.zeros(len(texts), dtype=bool)
    same = pc.equal(wanted, texts)
    return to_numpy(same if fits is None else pc.and_(fits, same))


def _needs_escapes(values: Any) -> bool:
    """Return whether JSON would write one of the values with an escape."""
    _, offsets, data = values.buffers()
    if offsets is None or data is None:
        return False
    edges = np.frombuffer(offsets, dtype=np.int32)
    text = np.frombuffer(data, dtype=np.uint8)[edges[values.offset] : edges[values.offset + len(values)]]
    return bool((text < ord(" ")).any() or (text == ord('"')).any() or (text == ord("\\")).any())


def empty(values: Any) -> np.ndarray:
    """Return where an Arrow array holds "" or 0."""
    if isinstance(values, pa.DictionaryArray):
        return empty(values.dictionary)[to_numpy(values.indices)] if len(values) else np.zeros(0, dtype=bool)
    if not pa.types.is_string(values.type):
        return to_numpy(values) == 0
    _, offsets, _ = values.buffers()
    if offsets is None:
        return np.zeros(0, dtype=bool)
    return np.diff(np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1]) == 0
