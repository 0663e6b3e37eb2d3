"""JUnit XML: one test case per check, so that any CI shows which check went red and why."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

# Characters that XML 1.0 cannot carry become this one.
REPLACEMENT = "\ufffd"


def write_junit(record: dict[str, Any], path: Path) -> None:
    """Write the verdict `record` as one test suite: fail → failure, invalid → error, the verdict a case of its own."""
    suite = ET.Element("testsuite", name=f"gameday.{record['scenario']}", timestamp=record.get("started_at") or "")
    cases = [_case(record, check) for check in record["checks"]]
    cases.append(_verdict_case(record))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(record: dict[str, Any], check: dict[str, Any]) -> ET.Element:
    name = check["name"] + (f" [{check['phase']}]" if check.get("phase") else "")
    case = ET.Element("testcase", classname=f"{record['scenario']}.{check['kind']}", name=_clean(name))
    tag = {"fail": "failure", "invalid": "error"}.get(check["status"])
    if tag:
        problem = ET.SubElement(case, tag, message=_clean(check["detail"]), type=check["status"])
        problem.text = _clean("\n".join([check["detail"], *_story(check)]))
    return case


def _verdict_case(record: dict[str, Any]) -> ET.Element:
    case = ET.Element("testcase", classname=f"{record['scenario']}.gate", name="verdict")
    if record["verdict"] != "PASS":
        tag = "failure" if record["verdict"] == "FAIL" else "error"
        reasons = "; ".join(record["reasons"])
        problem = ET.SubElement(case, tag, message=_clean(f"{record['verdict']}: {reasons}"), type=record["verdict"])
        problem.text = _clean("\n".join(record["reasons"]))
    return case


def _story(check: dict[str, Any]) -> list[str]:
    return [f"{step.get('t') or '':>18}  {step.get('what', '')}" for step in check.get("counterexample") or []]


def _clean(text: str) -> str:
    return "".join(char if char in "\t\n\r" or ord(char) >= 0x20 else REPLACEMENT for char in text)
