"""Summarize a verdict record for a reader with one minute: what was broken, what clients saw, what became of orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kit.fis_rules.catalog import HARMLESS
from kit.model import CheckKind, Status
from kit.reports.render import utc

# Before the fault, the checks of the objectives have the kind hypothesis.
CLIENT_KINDS = frozenset({CheckKind.SLO, CheckKind.HYPOTHESIS})
NO_VALUE = "–"


def broken(record: Mapping[str, Any]) -> list[str]:
    """Describe each action that breaks something: what, on which targets, from when to when, and its effect check."""
    fault = record.get("fault") or {}
    return [
        _action(action, fault.get("targets", ()))
        for action in fault.get("actions", ())
        if action["action_id"] not in HARMLESS
    ]


def what_broke(record: Mapping[str, Any]) -> str:
    """Say in a few words what was broken if no action can be listed: nothing, or unknown."""
    unknown = record.get("unknown", {}).get("fault")
    if unknown:
        return f"Unknown: {unknown}."
    return "Nothing." if record.get("fault") else "Nothing: no experiment was started."


def load_line(record: Mapping[str, Any]) -> str:
    """Say what the load generator did."""
    load = record["load"]
    if load is None:
        return f"Unknown: {record.get('unknown', {}).get('load') or 'the run left no record of its load'}"
    if not load["sent"] and not record["checks"] and "load" not in record.get("unknown", {}):
        return "Nothing was sent"
    lag = NO_VALUE if load["lag_ms_p99"] is None else f"{load['lag_ms_p99']:.2f}"
    counts = f"{load['ok']} ok, {load['fail']} refused, {load['info']} unknown"
    return f"{load['intended']} operations, {load['sent']} attempts: {counts}; send lag p99 {lag} ms"


def fault_line(record: Mapping[str, Any]) -> str:
    """Say when the fault was injected, seen and healed."""
    fault = record.get("fault")
    if record.get("unknown", {}).get("fault"):
        return "unknown"
    if not fault or not fault["injected_at"]:
        return "none injected"
    times = (("seen", fault["observed_at"]), ("healed", fault["healed_at"]))
    seen = ", ".join(f"{word} {_clock(at)} UTC" if at else f"not {word}" for word, at in times)
    targets = f"{len(fault['targets'])} targets" if fault["targets"] else "targets not recorded"
    return f"injected {utc(fault['injected_at'])} UTC, {seen}; {targets}"


def not_measured(record: Mapping[str, Any]) -> str:
    """Say why the table of what clients saw is empty."""
    load = record["load"]
    if load is None:
        return "Unknown: nothing that was recorded can be read."
    if load["sent"]:
        return f"Not judged: {load['sent']} attempts were sent, and the run ended before they were judged."
    return "Nothing: no request was sent."


def clients(record: Mapping[str, Any]) -> dict[str, Any]:
    """Tabulate what clients saw: {phases, rows: [{name, cells: [{text, status}]}]}.

    There is a column for each phase in which an objective was measured and a row for each metric.
    """
    checks = [check for check in record["checks"] if check["kind"] in CLIENT_KINDS]
    measured = [phase["name"] for phase in record["phases"]]
    phases = [name for name in measured if any(check["phase"] == name for check in checks)]
    names = list(dict.fromkeys(check["name"] for check in checks))
    return {"phases": phases, "rows": [{"name": name, "cells": _cells(name, phases, checks)} for name in names]}


def right(record: Mapping[str, Any]) -> str:
    """Say in one sentence whether orders and money are right."""
    checks = [check for check in record["checks"] if check["kind"] == CheckKind.INTEGRITY]
    if not checks:
        return "Not checked: there is no evidence about any order."
    wrong = [check["name"] for check in checks if check["status"] == Status.FAIL]
    unknown = [check["name"] for check in checks if check["status"] == Status.INVALID]
    if wrong:
        return f"Wrong: {len(wrong)} of {len(checks)} checks found wrong orders or money ({', '.join(wrong)})."
    if unknown:
        return f"Not known: {len(unknown)} of {len(checks)} checks had no evidence ({', '.join(unknown)})."
    detail = next((check["detail"] for check in checks if check["name"] == "exactly-once-per-key"), checks[0]["detail"])
    return f"Right: all {len(checks)} checks passed, with evidence; {detail}."


def _action(action: Mapping[str, Any], targets: Sequence[Mapping[str, Any]]) -> str:
    hit = [target for target in targets if target["name"] in action.get("targets", ())]
    zones = sorted({target["zone"] for target in hit if target["zone"]})
    kinds = sorted({target["type"].rpartition(":")[2] for target in hit})
    where = f" on {len(hit)} × {', '.join(kinds)}" if hit else ""
    where += f" in {', '.join(zones)}" if zones else ""
    when = f"{_clock(action.get('start'))} to {_clock(action.get('end'))}"
    status = action.get("status") or "unknown"
    return f"{action['action_id']} ({action['name']}){where}, {when}: {status}. {_proof(action)}"


def _proof(action: Mapping[str, Any]) -> str:
    proof = action.get("proof") or "no evidence"
    if action.get("observed_at") is None:
        return f"Effect not observed: {proof}."
    reverted = "not reverted" if action.get("healed_at") is None else f"reverted at {_clock(action['healed_at'])}"
    return f"Observed at {_clock(action['observed_at'])}, {reverted}: {proof}."


def _cells(name: str, phases: Sequence[str], checks: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        next((_cell(check) for check in checks if (check["name"], check["phase"]) == (name, phase)), _EMPTY)
        for phase in phases
    ]


_EMPTY = {"text": "", "status": ""}


def _cell(check: Mapping[str, Any]) -> dict[str, str]:
    if check["measured"] is None:
        return {"text": NO_VALUE, "status": check["status"]}
    unit = check["unit"]
    if unit == "share":
        return {"text": f"{100 * check['measured']:.4g} %", "status": check["status"]}
    return {"text": f"{check['measured']:.4g} {unit}".strip(), "status": check["status"]}


def _clock(at: float | None) -> str:
    """Format epoch seconds as HH:MM:SS in UTC."""
    return utc(at)[11:] or NO_VALUE
