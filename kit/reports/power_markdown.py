"""Write a power measurement as Markdown, to be published as docs/power.md. It contains no path of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.files import write_text
from kit.reports.power import listed

CHANGES = ("Change", "Breaks", "Scenario", "Result", "Checks that failed", "Named in its header", "Runs")
GOOD = ("Scenario", "Good runs", "No alarm", "False alarms", "No evidence")
DIGEST_SHOWN = 19
INTRODUCTION = """\
The gate is measured by mutation testing. Each known bad change (`paperbroker/changes/`) is a mutant, run in
the smallest scenario that should show it. A mutant is *caught* when its game day is FAIL and a check that its
header names has failed; one that passes is a *survivor*. The *mutation score* is the share of mutants that
were caught. *False alarms* are counted over good runs of the `pr` suite, each with a seed of its own.
Confidence intervals are exact (Clopper-Pearson)."""


def write_power_markdown(power: Mapping[str, Any], path: Path) -> None:
    """Replace the file with the tables of a `gameday.power/2` record."""
    write_text(path, "\n".join(_lines(power)) + "\n")


def _lines(power: Mapping[str, Any]) -> Iterator[str]:
    yield "# How good is the gate?"
    yield ""
    yield INTRODUCTION
    yield ""
    for rate in ("mutation_score", "false_alarms", "caught_by_any_check"):
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
    yield "`full`: run for the scenario's full length, because the change needs many orders to show; the others run"
    yield "briefly, as in the `pr` suite. Checks that the header names are **bold** where they failed."
    yield ""
    yield "## Good runs"
    yield ""
    yield from _table(GOOD, _good(power))
    if power["reasons"]:
        yield ""
        yield "## Not as expected"
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
    yield f"| Source tree | `{power['source_tree'][:DIGEST_SHOWN]}`, image of the good runs `{builds}` |"
    yield f"| Reproduce | `{_cell(power['reproduce'])}` |"


def _changes(power: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    runs = Counter(run["case"] for run in power["runs"])
    for case, result in zip(power["cases"], power["results"], strict=True):
        if case["kind"] != "change":
            continue
        named = ", ".join(
            f"**{check}**" if check in result["expected_failed"] else check for check in case["caught_by"]
        )
        yield (
            f"`{case['name']}`",
            case["breaks"],
            f"{case['scenario']}{', full' if case['full_length'] else ''}",
            result["result"],
            ", ".join(result["failed_checks"]) or result["main_reason"] or "–",
            named,
            str(runs[case["name"]]),
        )


def _good(power: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    pairs = zip(power["cases"], power["results"], strict=True)
    counts_by_result = Counter((case["scenario"], result["result"]) for case, result in pairs if case["kind"] == "good")
    for scenario in sorted({name for name, _ in counts_by_result}):
        results = {result: count for (name, result), count in counts_by_result.items() if name == scenario}
        no_evidence = results.get("no evidence", 0) + results.get("not run", 0)
        counts = (sum(results.values()), results.get("no alarm", 0), results.get("false alarm", 0), no_evidence)
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
