"""Finished run folders that somebody changed: files cut, edited, replaced by a link, a pipe or a huge file.

`gameday check`, `gate` and `report` answer with a verdict in words. Without a new seal, changed evidence is INVALID,
and what does not matter changes nothing. With a new seal, which anybody can make, any verdict is right.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from kit import gameday
from kit.cli.main import main
from kit.errors import UnreadableFile
from kit.files import read_object
from kit.files.seal import EVIDENCE, SEAL, sealed, write_manifest
from kit.notebook.run_phases import RunPhase, record_phase
from tests.fuzz.json_edits import edited, edits
from tests.fuzz.resource_limits import limited
from tests.fuzz.runner import Check, Target
from tests.gameday.run_folders import calm_history, write_run_folder
from tests.notebooks.executed import executed_notebook
from tests.notebooks.run_ending import end_run

MEMORY_MB_MAX, SECONDS_MAX, CPU_S_MAX = 400, 20.0, 8.0
PASS, INVALID, USAGE = 0, 3, 4
RUN = "run"
EVIDENCE_FILES = [
    "history/attempts-0.parquet", "history/stream-1.parquet", "history/connections-0.parquet", "history/summary.json",
    "ledger/events.parquet", "ledger/orders.parquet", "ledger/positions.parquet", "ledger/outbox.parquet",
    "platform/series.parquet", "platform/tasks.parquet", "platform/targets.parquet", "platform/machine.parquet",
    "observations.json", "cleanup.json", "stack.yaml",
]  # fmt: skip
RECORDS = ["manifest.json", "run.json", "executed.ipynb"]
OTHERS = ["phases.jsonl", "verdict.json", "junit.xml", "report.html", "ending.json", "experiment.json", "extra.json"]
ADDED = ["history/attempts-9.parquet", "ledger/extra.parquet", "platform/x", "history/summary.json.bak"]
FILES = EVIDENCE_FILES + RECORDS + OTHERS
JSON_FILES = ["history/summary.json", "observations.json", "cleanup.json", *RECORDS, "verdict.json", "experiment.json"]
TABLES = [name for name in EVIDENCE_FILES if name.endswith(".parquet")]
FOLDERS = ["history", "ledger", "platform"]
# Where a link leads: to files of the run's owner, out of the world, in a circle, and back into the folder.
LINKS = [
    "{outside}/precious.json", "{outside}", "/dev/zero", "/dev/full", "/dev/stdin", "nowhere", "{self}", ".",
    "{run}/observations.json", "{run}/ledger/events.parquet",
]  # fmt: skip
HUGE_BYTES = 1 << 40
CONTENTS = [b"", b"{}", b"[]", b"null", b"PAR1", b"\xff", b"[" * 5000]
NUMBERS = [0, -1, 1, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63)]
TEXTS = ["", " ", "x", "\x00", "é\u202e", "x" * 70_000, "{", "[]", "null", '{"a": 1e999}', "[" * 5000, "-1", "9" * 400]
COLUMN_KINDS = ["text", "int", "float", "null", "list", "bool", "bytes"]

# One damage is [kind, file, arguments…].
Damage = Sequence[Any]


def _damages() -> st.SearchStrategy[list[Any]]:
    files, places = st.sampled_from(FILES), st.integers(0, 200_000)
    anywhere = st.sampled_from(FILES + FOLDERS + ADDED)
    return st.one_of(
        st.tuples(st.just("cut"), files, places),
        st.tuples(st.just("flip"), files, places, st.integers(1, 255)),
        st.tuples(st.just("insert"), files, places, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("write"), anywhere, st.sampled_from(CONTENTS)),
        st.tuples(st.just("gone"), anywhere),
        st.tuples(st.just("link"), anywhere, st.sampled_from(LINKS)),
        st.tuples(st.just("pipe"), anywhere),
        st.tuples(st.just("folder"), anywhere),
        st.tuples(st.just("huge"), anywhere),
        st.tuples(st.just("copied"), anywhere, st.sampled_from(FILES)),
        st.tuples(st.just("json"), st.sampled_from(JSON_FILES), edits()),
        st.tuples(st.just("cell"), st.sampled_from(TABLES), places, places, st.one_of(
            st.none(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.floats(width=64))),
        st.tuples(st.just("column"), st.sampled_from(TABLES), places, st.sampled_from(COLUMN_KINDS)),
        st.tuples(st.just("rows"), st.sampled_from(TABLES), places, st.integers(0, 3)),
    ).map(list)  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Any], bool]:
    """Draw (damages, whether the folder is sealed again)."""
    return draw(st.lists(_damages(), min_size=1, max_size=2)), draw(st.booleans())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A folder for one case after the other: `reports/run` is a copy of a finished run, `outside` is someone's."""

    home: Path
    good: Path
    answers: dict[str, Answer]

    @property
    def run(self) -> Path:
        return self.home / "reports" / RUN


@contextmanager
def opened() -> Iterator[Check]:
    """Make a finished run that passes, then check damaged copies of it."""
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        good = write_run_folder(home / "good" / RUN, calm_history())
        for phase in (RunPhase.DEPLOY, RunPhase.STEADY_STATE, RunPhase.FAULT, RunPhase.CLOSED):
            record_phase(good, phase)
        record = gameday.judge_folder(good).record()
        nbformat.write(executed_notebook(record), good / "executed.ipynb")
        end_run(good, record, parameters={"scenario": "steady-state"})
        for folder in ("outside", "tmp", "reports"):
            (home / folder).mkdir()
        (home / "outside" / "precious.json").write_text("{}")
        rig = Rig(home=home, good=good, answers={})
        check(rig, [], False)
        yield lambda case: check(rig, *case)


def check(rig: Rig, damages: Sequence[Damage], is_sealed_again: bool) -> None:
    shutil.rmtree(rig.home / "reports")
    shutil.copytree(rig.good, rig.run)
    temporary, tempfile.tempdir = tempfile.tempdir, str(rig.home / "tmp")
    try:
        for one in damages:
            damage(rig, one)
        if is_sealed_again:
            seal_again(rig.run, {one[1] for one in damages})
        with limited(memory_mb=MEMORY_MB_MAX, seconds=SECONDS_MAX):
            changed = _changed(rig)
            answers = {name: answer(name, rig.run) for name in ("check", "gate")}
            judge(rig, answers, changed, is_sealed_again)
            assert _changed(rig) == changed, "judging changed the folder"
            answer("report", rig.run)
    finally:
        tempfile.tempdir = temporary
    assert os.listdir(rig.home / "tmp") == [], "a temporary file is left"
    assert (rig.home / "outside" / "precious.json").read_text() == "{}", "written through a link"
    assert sorted(os.listdir(rig.home / "outside")) == ["precious.json"], "written outside"
    assert sorted(os.listdir(rig.home)) == ["good", "outside", "reports", "tmp"], "written outside"
    assert set(os.listdir(rig.home / "reports")) <= {RUN, "index.html"}, "written outside the run"


def answer(command: str, run: Path) -> Answer:
    """Call a command; assert that it answers in words."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([command, str(run)])
    said, complained = (each.buffer.getvalue().decode() for each in (out, err))  # type: ignore[attr-defined]
    for text in (said, complained):
        assert "Traceback" not in text and "internal error" not in text, text
    assert code in (0, 1, 2, 3, USAGE), f"exit code {code}: {complained}"
    assert said.strip() or complained.strip(), f"{command} said nothing"
    return Answer(code=code, out=said)


def judge(rig: Rig, answers: dict[str, Answer], changed: set[str], is_sealed_again: bool) -> None:
    """Assert that the verdicts of a damaged folder are right."""
    if not rig.answers and not changed:
        rig.answers.update(answers)
        assert {one.code for one in answers.values()} == {PASS}, f"a good run does not pass: {answers}"
    elif not is_sealed_again:
        evidence = {name for name in changed if name.split("/")[0] in EVIDENCE}
        for command, one in answers.items():
            refused = one.code == INVALID or (one.code == USAGE and not _looks_like_a_run(rig.run))
            same = one == rig.answers[command] and not evidence
            assert refused or same, f"{command} exits with {one.code} though {sorted(changed)} changed: {one.out}"


def _looks_like_a_run(run: Path) -> bool:
    return (run / "run.json").is_file()


def _changed(rig: Rig) -> set[str]:
    """Return what differs from the good folder: contents, kinds of files, missing and added ones."""
    before, now = _listed(rig.good), _listed(rig.run)
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _listed(folder: Path) -> dict[str, Any]:
    found = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        is_file = stat.S_ISREG(about.st_mode)
        content = path.read_bytes() if is_file and about.st_size < HUGE_BYTES else about.st_size if is_file else ""
        found[path.relative_to(folder).as_posix()] = (stat.S_IFMT(about.st_mode), content)
    return found


def damage(rig: Rig, one: Damage) -> None:
    """Apply one damage; one that does not fit what is there changes nothing."""
    kind, name, *arguments = one
    path = rig.run / name
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, FileExistsError):
        if kind in CHANGES:
            if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_size < HUGE_BYTES:
                CHANGES[kind](path, *arguments)
        elif path.parent.is_dir() and not path.parent.is_symlink():
            REPLACEMENTS[kind](rig, path, *arguments)


def _flip(path: Path, place: int, mask: int) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[place % len(content)] ^= mask
        path.write_bytes(content)


def _insert(path: Path, place: int, added: bytes) -> None:
    content = path.read_bytes()
    place %= len(content) + 1
    path.write_bytes(content[:place] + added + content[place:])


def _cut(path: Path, place: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: place % (len(content) + 1)])


def _json(path: Path, edit: Sequence[Any]) -> None:
    text = edited(path.read_text(errors="surrogateescape"), edit)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _table(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with contextlib.suppress(pa.ArrowException, OSError):
            table = pq.read_table(path)
            pq.write_table(change(table), path)

    return apply


def _cell(path: Path, column: int, row: int, value: Any) -> None:
    def change(table: Any) -> Any:
        if not table.num_rows:
            return table
        number = column % table.num_columns
        values = table.column(number).to_pylist()
        values[row % len(values)] = value
        try:
            array = pa.array(values, table.field(number).type)
        except (pa.ArrowException, OverflowError, TypeError):
            array = pa.array([None if each is None else str(each) for each in values])
        return table.set_column(number, table.field(number).name, array)

    _table(change)(path)


def _column(path: Path, column: int, kind: str) -> None:
    of = {
        "text": "x", "int": 7, "float": float("nan"), "null": None, "list": [1], "bool": True, "bytes": b"\xff",
    }  # fmt: skip

    def change(table: Any) -> Any:
        number = column % table.num_columns
        return table.set_column(number, table.field(number).name, pa.array([of[kind]] * table.num_rows))

    _table(change)(path)


def _rows(path: Path, row: int, times: int) -> None:
    def change(table: Any) -> Any:
        at = row % (table.num_rows + 1)
        return pa.concat_tables([table.slice(0, at), *[table.slice(at, 1)] * times, table.slice(at + 1)])

    _table(change)(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(rig: Rig, path: Path, target: str) -> None:
    _remove(path)
    path.symlink_to(target.format(outside=rig.home / "outside", self=path, run=rig.run))


def _pipe(_rig: Rig, path: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _folder(_rig: Rig, path: Path) -> None:
    _remove(path)
    path.mkdir()


def _write(_rig: Rig, path: Path, content: bytes) -> None:
    _remove(path)
    path.write_bytes(content)


def _huge(_rig: Rig, path: Path) -> None:
    _remove(path)
    path.touch()
    os.truncate(path, HUGE_BYTES)


def _copied(rig: Rig, path: Path, other: str) -> None:
    content = (rig.good / other).read_bytes()
    _write(rig, path, content)


CHANGES: dict[str, Callable[..., None]] = {
    "cut": _cut, "flip": _flip, "insert": _insert, "json": _json, "cell": _cell, "column": _column, "rows": _rows,
}  # fmt: skip
REPLACEMENTS: dict[str, Callable[..., None]] = {
    "link": _link, "pipe": _pipe, "folder": _folder, "write": _write, "huge": _huge, "copied": _copied,
    "gone": lambda _rig, path: _remove(path),
}  # fmt: skip


def seal_again(run: Path, damaged: set[str]) -> None:
    """Seal what can be sealed, as somebody does who wants the damage to be read."""
    for name in ("run.json", "manifest.json"):
        with contextlib.suppress(UnreadableFile):
            record = read_object(run / name)
            record.pop(SEAL, None)
            (run / name).write_text(json.dumps(sealed(record)))
    if "manifest.json" in damaged or any(path.lstat().st_size >= HUGE_BYTES for path in run.rglob("*")):
        return
    with contextlib.suppress(UnreadableFile, KeyError, IndexError, TypeError, AttributeError, OSError):
        notebook = read_object(run / "executed.ipynb")
        (payload,) = notebook["cells"][0]["outputs"][0]["data"].values()
        write_manifest(run, headless=True, verdict=payload["data"])


TARGET = Target(
    promise="A changed run folder is judged in words, within bounds, and never passes without a new seal.",
    cases=cases(),
    open=opened,
    cpu_s_max=CPU_S_MAX,
    known=[
        ([["gone", "cleanup.json"]], False),
        ([["huge", "ledger/events.parquet"]], False),
        ([["link", "observations.json", "/dev/zero"]], False),
        ([["pipe", "history/summary.json"]], False),
        ([["copied", "ledger/extra.parquet", "ledger/events.parquet"]], False),
    ],
)
