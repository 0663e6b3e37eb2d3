"""Print the results of a judged run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.process.terminal import say

COUNTEREXAMPLE_STEPS_MAX = 14


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
