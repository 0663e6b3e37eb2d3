"""Write JUnit XML: one test suite per game day and one case per check, so that any CI shows what failed and why."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.files import write_bytes
from kit.reports.timeline import step_line

# Replaces characters that XML 1.0 cannot contain.
REPLACEMENT = "\ufffd"
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
COUNTS = ("tests", "failures", "errors")


def write_junit(record: Mapping[str, Any], path: Path) -> None:
    """Write a verdict record as one test suite: fail → failure, invalid → error, the verdict as a case of its own."""
    _write([_suite(record)], path)


def write_suite_junit(suite: Mapping[str, Any], records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a suite of game days: one test suite for each of the `records`, which are those of the runs that count.

    A run that was repeated appears only in the output of its scenario's test suite. A suite that has not ended is an
    error, so that the file that a killed suite leaves is not green.
    """
    written = []
    for record in records:
        element = _suite(record)
        runs = [run for run in suite["runs"] if run["scenario"] == record["scenario"]]
        element.set("time", f"{sum(run['duration_s'] for run in runs):.1f}")
        output = "\n".join(line for run in runs for line in _run_lines(run))
        ET.SubElement(element, "system-out").text = output
        written.append(element)
    if suite["state"] != "done":
        written.append(_unfinished(suite))
    _write(written, path, name=f"gameday.{suite['suite']}")


def _write(suites: Sequence[ET.Element], path: Path, **attributes: str) -> None:
    root = ET.Element("testsuites", attributes)
    for count in COUNTS:
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.extend(suites)
    ET.indent(root)
    write_bytes(path, ET.tostring(_cleaned(root), encoding="utf-8", xml_declaration=True))


def _suite(record: Mapping[str, Any]) -> ET.Element:
    suite = ET.Element("testsuite", name=f"gameday.{record['scenario']}", timestamp=record.get("started_at") or "")
    cases = [_case(record, check) for check in record["checks"]]
    cases.append(_verdict_case(record))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    return suite


def _unfinished(suite: Mapping[str, Any]) -> ET.Element:
    element = ET.Element("testsuite", name="gameday.suite", tests="1", failures="0", errors="1")
    case = ET.SubElement(element, "testcase", classname="suite.gate", name="ended")
    ET.SubElement(case, "error", message=suite["reasons"][0], type="INVALID")
    return element


def _run_lines(run: Mapping[str, Any]) -> list[str]:
    """Describe a run of a suite in a few lines: its verdict, its reasons and the CPU contention."""
    repeated = "" if run["counts"] else f"; repeated alone, because {run['repeat_reason']}"
    lines = [f"run {run['run_id']}: {run['verdict']} after {run['duration_s']:g} s{repeated}"]
    lines += [f"  {reason}" for reason in run["reasons"]]
    if run["cpu_contention"]:
        lines.append(f"  CPU: {run['cpu_contention']['words']}")
    return lines


def _case(record: Mapping[str, Any], check: Mapping[str, Any]) -> ET.Element:
    name = check["name"] + (f" [{check['phase']}]" if check.get("phase") else "")
    case = ET.Element("testcase", classname=f"{record['scenario']}.{check['kind']}", name=name)
    tag = {"fail": "failure", "invalid": "error"}.get(check["status"])
    if tag:
        problem = ET.SubElement(case, tag, message=check["detail"], type=check["status"])
        problem.text = "\n".join([check["detail"], *_timeline(check)])
    return case


def _verdict_case(record: Mapping[str, Any]) -> ET.Element:
    case = ET.Element("testcase", classname=f"{record['scenario']}.gate", name="verdict")
    if record["verdict"] != "PASS":
        tag = "failure" if record["verdict"] == "FAIL" else "error"
        reasons = "; ".join(record["reasons"])
        problem = ET.SubElement(case, tag, message=f"{record['verdict']}: {reasons}", type=record["verdict"])
        problem.text = "\n".join(record["reasons"])
    return case


def _timeline(check: Mapping[str, Any]) -> list[str]:
    return [step_line(step) for step in check.get("counterexample") or []]


def _cleaned(root: ET.Element) -> ET.Element:
    """Replace what XML 1.0 cannot contain in every text and attribute, once for the whole document."""
    for element in root.iter():
        element.text = _NO_XML.sub(REPLACEMENT, element.text) if element.text else element.text
        for name, value in element.attrib.items():
            element.set(name, _NO_XML.sub(REPLACEMENT, value))
    return root
