"""Write and print the results of a judged run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kit.process.terminal import say

COUNTEREXAMPLE_STEPS_MAX = 14


def publish(run_dir: Path, record: dict[str, Any]) -> None:
    """Write the verdict, the JUnit file and the HTML report of a run, and the index of all runs."""
    from kit import gameday, reports
    from kit.files import write_json
    from kit.notebook.run_state import EXECUTED

    # Not resolved: a run's folder that is a symbolic link is refused by the first write.
    run_dir = Path(os.path.abspath(run_dir))
    write_json(run_dir / "verdict.json", record)
    reports.write_junit(record, run_dir / "junit.xml")
    known = gameday.is_known(record["scenario"])
    reports.write_html(
        record,
        run_dir / EXECUTED,
        run_dir / "report.html",
        believed=gameday.hypothesis_of(record["scenario"]) if known else "",
        fidelity=gameday.fidelity_rows(record["scenario"]) if known and record["target"] == "local" else [],
    )
    reports.write_index(run_dir.parent)


def print_record(record: dict[str, Any], run_dir: Path) -> None:
    """Print the verdict, its reasons, the first counterexample, and where the report is."""
    say(f"\n{record['verdict']}  {record['scenario']}  {record['run_id']}")
    for reason in record["reasons"]:
        say(f"  - {reason}")
    shown = [check for check in record["checks"] if check["status"] != "pass" and check["counterexample"]]
    for check in shown[:1]:
        say(f"  counterexample of {check['name']}:")
        for step in check["counterexample"][:COUNTEREXAMPLE_STEPS_MAX]:
            say(f"      {step['what']}")
    report = run_dir / "report.html"
    say(f"  report  {report}\n" if report.exists() else "")
