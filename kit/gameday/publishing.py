"""Write what people and CI read of a judged run: verdict, JUnit file, HTML report, index of all runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kit import reports
from kit.files import write_json
from kit.gameday.commands import fidelity_rows, hypothesis_of, is_known
from kit.notebook.run_state import EXECUTED


def publish(run_dir: Path, record: dict[str, Any]) -> None:
    """Write the verdict, the JUnit file and the HTML report of a run, and the index of all runs."""
    # Not resolved: a run's folder that is a symbolic link is refused by the first write.
    run_dir = Path(os.path.abspath(run_dir))
    write_json(run_dir / "verdict.json", record)
    reports.write_junit(record, run_dir / "junit.xml")
    known = is_known(record["scenario"])
    reports.write_html(
        record,
        run_dir / EXECUTED,
        run_dir / "report.html",
        believed=hypothesis_of(record["scenario"]) if known else "",
        fidelity=fidelity_rows(record["scenario"]) if known and record["target"] == "local" else [],
    )
    reports.write_index(run_dir.parent)
