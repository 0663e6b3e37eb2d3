"""Write the page of a power measurement: the rates and every survivor on top, then a row per change and good run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.reports.render import utc, write_page

# Results that are listed by name at the top, and the record's field that holds them.
LISTS = {
    "Survivors": "survivors",
    "Caught by another check than their header names": "caught_by_other",
    "False alarms": "false_alarms",
    "No evidence": "no_evidence",
    "Not run": "not_run",
}
# A result has the colour of the verdict that says as much about a build.
COLOURS = {
    "caught": "PASS",
    "no alarm": "PASS",
    "caught by another check": "ABORTED",
    "survivor": "FAIL",
    "false alarm": "FAIL",
    "no evidence": "INVALID",
    "not run": "INVALID",
}


def write_power_html(power: Mapping[str, Any], path: Path) -> None:
    """Write the page of a `gameday.power/2` record; links are relative to it."""
    write_page(
        path,
        "power.html.j2",
        power=power,
        lists=listed(power),
        facts=list(_facts(power)),
        rows=list(_rows(power)),
        colours=COLOURS,
    )


def listed(power: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the lists of names that are not empty, with their titles; the survivors even if there are none."""
    return [(title, power[key]) for title, key in LISTS.items() if power[key] or key == "survivors"]


def _rows(power: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Join each case with its result and all its runs; the last run counts."""
    for case, result in zip(power["cases"], power["results"], strict=True):
        runs = sorted((run for run in power["runs"] if run["case"] == case["name"]), key=lambda run: run["attempt"])
        yield {"case": case, "result": result, "runs": runs}


def _facts(power: Mapping[str, Any]) -> Iterator[str]:
    resumed = f", resumed {power['resumed']} times" if power["resumed"] else ""
    yield f"{utc(power['started_at'])} to {utc(power['ended_at']) or '…'} ({power['state']}{resumed})"
    yield f"Parameters: {', '.join(f'{name}={value}' for name, value in power['parameters'].items()) or 'defaults'}"
    yield f"Source tree {power['source_tree']}"
    yield f"Machine: {', '.join(f'{name} {value}' for name, value in power['machine'].items())}"
