"""Write the page of a suite: its verdict, one row per run, and how many runs ran in parallel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.reports.render import write_page

REASONS_SHOWN_MAX = 3


def write_suite_html(suite: Mapping[str, Any], path: Path) -> None:
    """Write the page of a `gameday.suite/2` record; links are relative to it."""
    passed = sum(run["verdict"] == "PASS" for run in suite["runs"] if run["counts"])
    write_page(
        path,
        "suite.html.j2",
        suite=suite,
        summary=[f"{passed} of {len(suite['scenarios'])} scenarios passed", *suite["reasons"][:REASONS_SHOWN_MAX]],
        parameters=", ".join(f"{name}={value}" for name, value in suite["parameters"].items() if value)
        or "default parameters",
        runs=[(run, _reasons(run)) for run in suite["runs"]],
    )


def _reasons(run: Mapping[str, Any]) -> list[str]:
    reasons = list(dict.fromkeys([run["main_reason"], *run["reasons"]]))[:REASONS_SHOWN_MAX]
    if not run["counts"]:
        return [f"Repeated alone, because {run['repeat_reason']}. This run does not count.", *reasons]
    return ["Repeated alone; this run counts.", *reasons] if run["attempt"] > 1 else reasons
