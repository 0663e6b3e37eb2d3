"""Mutants of a source tree: their stable ids, their diffs, and a seeded choice among them."""

from __future__ import annotations

import ast
import difflib
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.operators import OPERATORS, Edit
from tests.mutation.syntax import Module, Place, lines_of, walk

DIGEST_CHARS = 8
CONTEXT_LINES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One faulty change of one file. `path` is relative to the repository; `lines` are those that it changes."""

    id: str
    path: str
    qualname: str
    operator: str
    lines: tuple[int, ...]
    before: str
    after: str

    def diff(self) -> str:
        """Return the unified diff, as `paperbroker/changes/` has them."""
        path = self.path
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True),
            f"a/{path}", f"b/{path}", n=CONTEXT_LINES,
        )  # fmt: skip
        return f"diff --git a/{path} b/{path}\n" + "".join(lines)

    def title(self) -> str:
        """Return the changed lines in one line."""
        removed = [line[1:].strip() for line in self.diff().splitlines()[4:] if line.startswith("-")]
        added = [line[1:].strip() for line in self.diff().splitlines()[4:] if line.startswith("+")]
        return f"{' '.join(removed)} → {' '.join(added)}"


def mutants_of(path: Path, root: Path) -> Iterator[Mutant]:
    """Yield all mutants of a module that compile and differ, in the order of the source."""
    module = Module.read(path)
    relative = path.relative_to(root).as_posix()
    seen: set[str] = set()
    again: Counter[str] = Counter()
    for node, place in walk(module):
        for name, operator in OPERATORS.items():
            for edit in operator(module, node, place):
                after = module.text[: edit.start] + edit.new + module.text[edit.end :]
                if after == module.text or after in seen or not _compiles(after):
                    continue
                seen.add(after)
                # The id holds no line number, so that it outlives changes elsewhere in the file.
                text = f"{place.qualname}|{name}|{_around(module, edit)}"
                again[text] += 1
                yield Mutant(
                    id=_id(relative, place.qualname, name, f"{text}|{again[text]}"),
                    path=relative,
                    qualname=place.qualname,
                    operator=name,
                    lines=_lines(module, edit, place),
                    before=module.text,
                    after=after,
                )


def choose(mutants: Iterable[Mutant], *, seed: int, count: int) -> list[Mutant]:
    """Choose mutants by a seed. The operators take turns, so that none drowns the others; a longer choice only adds."""
    dice = random.Random(seed)
    by_operator: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_operator[mutant.operator].append(mutant)
    queues = [sorted(group, key=lambda mutant: mutant.id) for _, group in sorted(by_operator.items())]
    for queue in queues:
        dice.shuffle(queue)
    dice.shuffle(queues)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return chosen


def _compiles(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _around(module: Module, edit: Edit) -> str:
    """Return the source lines that an edit touches, without their indentation, and what they become."""
    start = module.text.rfind("\n", 0, edit.start) + 1
    end = module.text.find("\n", edit.end)
    old = module.text[start : end if end >= 0 else None]
    new = module.text[start : edit.start] + edit.new + module.text[edit.end : end if end >= 0 else None]
    return " ".join(f"{old} => {new}".split())


def _lines(module: Module, edit: Edit, place: Place) -> tuple[int, ...]:
    """Return the lines of the changed statements: a test that runs one of them runs the change."""
    first = module.text.count("\n", 0, edit.start) + 1
    last = module.text.count("\n", 0, max(edit.start, edit.end - 1)) + 1
    whole = lines_of(place.statement) if place.statement and place.function is not place.statement else ()
    return tuple(sorted({*range(first, last + 1), *whole}))


def _id(path: str, qualname: str, operator: str, text: str) -> str:
    digest = hashlib.sha256(f"{path}|{text}".encode()).hexdigest()[:DIGEST_CHARS]
    where = f"{Path(path).stem}-{qualname.rpartition('.')[2].strip('_') or 'module'}".replace("_", "-").lower()
    return f"{where}-{operator}-{digest}"
