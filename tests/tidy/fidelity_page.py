"""Make the tables of docs/fidelity.md from data and code: `make docs` runs this, a test compares the page.

The differences come from kit/scenarios/fidelity.yaml. What an action of FIS does here is the first line of its module's
docstring, how that differs from AWS the paragraph that begins with "Unlike AWS:". How the kit proves the action is the
docstring of its effect check.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from kit.faults import how_proven
from kit.fis_rules.catalog import ACTIONS as CATALOGUE
from kit.fis_rules.catalog import ActionSpec
from kit.local.fis.actions import ACTIONS
from kit.local.fis.resources import PROVIDERS
from kit.scenarios.fidelity import differences
from tests.tidy import served_operations

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fidelity.md"
DIFFERENCES = (
    "<!-- Made by `make docs` from kit/scenarios/fidelity.yaml; do not edit. -->",
    "<!-- End of the rows of kit/scenarios/fidelity.yaml. -->",
)
ACTION_ROWS = (
    "<!-- Made by `make docs` from the docstrings of the actions; do not edit. -->",
    "<!-- End of the table of actions. -->",
)
SERVED = (
    "<!-- Made by `make docs` from what the local AWS honours (honoured.yaml); do not edit. -->",
    "<!-- End of the table of services. -->",
)
DIFFERENCES_HEAD = "| What | Here | On AWS | Touches |"
ACTIONS_HEAD = "| Action | Control plane | Real effect here | How it differs from AWS | How the kit proves it |"
UNLIKE = "Unlike AWS:"
NOTHING = "–"


def differences_table() -> str:
    """Make a row of every difference between the local AWS and AWS."""
    rows = [_cells([each.what, each.local, each.aws, " ".join(each.touches)]) for each in differences()]
    return "\n".join([*_head(DIFFERENCES_HEAD), *rows])


def actions_table() -> str:
    """Make a row of every action of AWS FIS."""
    return "\n".join([*_head(ACTIONS_HEAD), *(_row(CATALOGUE[action_id]) for action_id in sorted(CATALOGUE))])


def served_table() -> str:
    """Make a row of every service that is served."""
    return "\n".join([*_head(served_operations.HEAD), *(_cells(row) for row in served_operations.rows())])


def page(text: str) -> str:
    """Replace the tables of the page."""
    for marks, table in (
        (DIFFERENCES, differences_table()), (SERVED, served_table()), (ACTION_ROWS, actions_table()),
    ):  # fmt: skip
        text = _replaced(text, marks, table)
    return text


def _replaced(text: str, marks: tuple[str, str], table: str) -> str:
    begin, end = marks
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE} has no place for a table: {begin} … {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _head(head: str) -> list[str]:
    return [head, re.sub(r"[^|]+", "---", head)]


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") or NOTHING for cell in cells) + " |"


def words(action_id: str) -> tuple[str, str]:
    """Return what an action does here, and how that differs from AWS."""
    module = sys.modules[ACTIONS[action_id].__module__]
    paragraphs = (inspect.cleandoc(module.__doc__ or "")).split("\n\n")
    effect = _line(paragraphs[0]).partition(": ")[2]
    unlike = next((_line(each) for each in paragraphs if each.startswith(UNLIKE)), "")
    return effect, unlike.removeprefix(UNLIKE).strip()


def _row(spec: ActionSpec) -> str:
    types = ", ".join(spec.targets.values())
    resolved = all(each in PROVIDERS for each in spec.targets.values())
    control = "validated" if not types else f"validated; {types} " + ("resolved" if resolved else "not resolved")
    if spec.id in ACTIONS:
        cells = [control, *words(spec.id), how_proven(spec.id)]
    else:
        cells = [control, "none: the action fails with `ConfigurationFailure`", "acts on AWS only", NOTHING]
    return _cells([f"`{spec.id}`", *cells])


def _line(paragraph: str) -> str:
    return " ".join(paragraph.split())


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
