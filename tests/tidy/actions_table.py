"""The table of FIS actions in docs/fidelity.md, made from the code; `make docs` runs it, a test compares.

An action's words stand once, in the docstring of its module: the first line says what it does here, the paragraph
that begins with "Unlike AWS:" how that differs. How the kit proves it is the first sentence of its effect check.
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

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "fidelity.md"
BEGIN = "<!-- Made by `make docs` from the actions' own words; do not edit. -->"
END = "<!-- End of what `make docs` makes. -->"
HEAD = "| Action | Control plane | Real effect here | How it differs from AWS | How the kit proves it |"
UNLIKE = "Unlike AWS:"
NOTHING = "–"


def table() -> str:
    """Every action of AWS FIS in a row of five cells: none of the four that reports look for."""
    rows = [HEAD, re.sub(r"[^|]+", "---", HEAD)]
    rows += [_row(CATALOGUE[action_id]) for action_id in sorted(CATALOGUE)]
    return "\n".join(rows)


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{PAGE} has no place for the table: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def words(action_id: str) -> tuple[str, str]:
    """(what it does here, how that differs), of an action that acts here."""
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
    return "| " + " | ".join([f"`{spec.id}`", *(cell.replace("|", r"\|") or NOTHING for cell in cells)]) + " |"


def _line(paragraph: str) -> str:
    return " ".join(paragraph.split())


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
