"""A measurement of power as Markdown: what is published as docs/power.md. Names no folder of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.reports.power import listed

CHANGES = ("Change", "Breaks", "Scenario", "Result", "Checks that failed", "Named in its header", "Runs")
GOOD = ("Scenario", "Good runs", "No alarm", "False alarms", "No evidence")
DIGEST_SHOWN = 19


def write_power_markdown(power: Mapping[str, Any], path: Path) -> None:
    """Replace the file with the tables of a `gameday.power/1` record."""
    part = path.with_suffix(".part")
    part.write_text("\n".join(_lines(power)) + "\n", encoding="utf-8")
    part.replace(path)


def _lines(power: Mapping[str, Any]) -> Iterator[str]:
    yield "# How good is the gate?"
    yield ""
    yield "Every known bad change (`paperbroker/changes/`), each in the smallest scenario that should show it; and good"
    yield "runs of the pull requests' suite, each with a seed of its own. A change is *caught* when its game day is"
    yield "FAIL and a check that its header names has failed. Intervals are exact (Clopper-Pearson)."
    yield ""
    for rate in ("caught", "false_alarms", "noticed"):
        yield f"- {power['rates'][rate]['words']}"
    for title, names in listed(power):
        yield f"- {title}: {', '.join(f'`{name}`' for name in names) or 'none'}"
    yield ""
    yield from _facts(power)
    yield ""
    yield "## Bad changes"
    yield ""
    yield from _table(CHANGES, _changes(power))
    yield ""
    yield "`full`: for the scenario's full length, because it takes many orders to show; the others briefly, as in the"
    yield "suite of pull requests. Checks that the header names are **bold** where they failed."
    yield ""
    yield "## Good runs"
    yield ""
    yield from _table(GOOD, _good(power))
    if power["reasons"]:
        yield ""
        yield "## Not as it should be"
        yield ""
        for reason in power["reasons"]:
            yield f"- {reason}"


def _facts(power: Mapping[str, Any]) -> Iterator[str]:
    machine, at = power["machine"], power["ended_at"] or power["started_at"]
    described = ", ".join(f"{name} {value}" for name, value in machine.items())
    builds = ", ".join(build[:DIGEST_SHOWN] for build in power["builds"]) or "none"
    yield "| | |"
    yield "|---|---|"
    yield f"| Measured | {at[:10]} ({power['state']}) |"
    yield f"| Machine | {_cell(described)} |"
    yield f"| Source tree | `{power['tree'][:DIGEST_SHOWN]}`, image of the good runs `{builds}` |"
    yield f"| Again | `{_cell(power['reproduce'])}` |"


def _changes(power: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    tried = Counter(run["case"] for run in power["runs"])
    for case, result in zip(power["cases"], power["results"], strict=True):
        if case["kind"] != "change":
            continue
        named = ", ".join(f"**{check}**" if check in result["named"] else check for check in case["caught_by"])
        yield (
            f"`{case['name']}`",
            case["breaks"],
            f"{case['scenario']}{', full' if case['full'] else ''}",
            result["result"],
            ", ".join(result["fired"]) or result["why"] or "–",
            named,
            str(tried[case["name"]]),
        )


def _good(power: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    pairs = zip(power["cases"], power["results"], strict=True)
    seen = Counter((case["scenario"], result["result"]) for case, result in pairs if case["kind"] == "good")
    for scenario in sorted({name for name, _ in seen}):
        results = {result: count for (name, result), count in seen.items() if name == scenario}
        silent = results.get("no evidence", 0) + results.get("not run", 0)
        counts = (sum(results.values()), results.get("no alarm", 0), results.get("false alarm", 0), silent)
        yield (scenario, *map(str, counts))


def _table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield _row(columns)
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield _row(row)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
