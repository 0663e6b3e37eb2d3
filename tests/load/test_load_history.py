"""A history is read back as it was written, or not at all."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kit.errors import EvidenceMissing
from kit.load import read_history
from kit.load.history_writer import HistoryWriter
from kit.load.http_attempt import Attempt, OperationState
from kit.load.orders import Operation
from kit.model import ATTEMPT_COLUMNS, CONNECTION_COLUMNS, STREAM_COLUMNS, LoadStats
from tests.load.load_exchange import within

STATS = {"intended": 200, "sent": 200, "ok": 200, "fail": 0, "info": 0, "dropped": 0, "lag_ms_p99": 0.2}


def attempt(i: int) -> Attempt:
    operation = Operation(i, "order", "c001", f"k{i}", f"o{i}", "ACME", "BUY", "LIMIT", "GTC", 2**40, 10_000)
    made = Attempt(OperationState(operation), "first", operation, 1_000 + i, 2_000 + i)
    made.completed_ns, made.outcome, made.status = 3_000 + i, "ok", 201
    made.reply = '{"name":"Zoë"}'.encode() if i else b"\xff"
    return made


def write(out_dir: Path, *, finish: bool = True) -> None:
    async def main() -> None:
        writer = HistoryWriter(out_dir, as_row={"attempts": partial(Attempt.row, epoch_ns=10**18)})
        await writer.start()
        for i in reversed(range(200)):
            writer.add("attempts", attempt(i))
            if i == 100:
                writer.flush()
        writer.add("stream", ("s-ACME-0", 0, "ACME", 1, 5, '{"seq":1}'))
        if finish:
            await writer.finish(STATS)
        else:
            writer.flush()
            await writer.close()

    within(main())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("history")
    write(out_dir)
    return out_dir


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_round_trip_has_the_columns_of_the_model(written: Path) -> None:
    """Names, order and dtypes of the columns are those of the model, also for an empty table."""
    read = read_history(written)
    for frame, columns in (
        (read.attempts, ATTEMPT_COLUMNS),
        (read.stream, STREAM_COLUMNS),
        (read.connections, CONNECTION_COLUMNS),
    ):
        assert list(frame.columns) == list(columns)
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == columns
    assert read.connections.empty
    assert read.stats == LoadStats(**STATS)
    assert len(list(written.glob("attempts-*.parquet"))) == 2


def test_round_trip_keeps_the_values(written: Path) -> None:
    """Rows come back in the order of their sending, with times in epoch ns and unchanged text."""
    attempts = read_history(written).attempts
    assert attempts["op_id"].tolist() == list(range(200))
    assert attempts["invoked_ns"].iloc[7] == 10**18 + 2_007
    assert set(attempts["late_ns"].tolist()) == {0}
    assert attempts["qty"].iloc[7] == 2**40
    assert attempts["reply"].iloc[7] == '{"name":"Zoë"}'
    assert attempts["reply"].iloc[0] == "\N{REPLACEMENT CHARACTER}"
    assert not attempts.isna().to_numpy().any()
    assert isinstance(attempts["outcome"].dtype, pd.StringDtype)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _edit(change: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("attempts-00001.parquet", Path.unlink, "is missing"),
        ("attempts-00001.parquet", _cut, "is damaged"),
        ("summary.json", Path.unlink, "did not finish"),
        ("summary.json", _cut, "not JSON"),
        ("summary.json", partial(_edit, {"finished": False}), "did not finish"),
        ("summary.json", partial(_edit, {"segments": {}}), "lists no segments of attempts"),
        (
            "summary.json",
            partial(_edit, {"segments": {"attempts": [["attempts-00000.parquet", 5]]}}),
            "the summary lists 5",
        ),
    ],
)
def test_damaged_history_is_refused(copy: Path, name: str, harm: Callable[[Path], None], message: str) -> None:
    """The error names what is absent, damaged or short."""
    harm(copy / name)
    with pytest.raises(EvidenceMissing, match=message):
        read_history(copy)


def test_unfinished_history_is_refused_but_keeps_its_segments(tmp_path: Path) -> None:
    """A killed generator leaves its segments for manual inspection."""
    write(tmp_path, finish=False)
    assert list(tmp_path.glob("attempts-*.parquet"))
    with pytest.raises(EvidenceMissing, match="did not finish"):
        read_history(tmp_path)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    """Without a history there is no evidence."""
    with pytest.raises(EvidenceMissing):
        read_history(tmp_path)
