"""Tell the state machine whether PaperBroker keeps its limits now and its ledger of the last minutes is consistent.

Input: {"assertion", "env", "window": {"start", "end"}, "limits": {metric: number or null},
"ledger": {"table", "markets", "minutes"}}, times in epoch seconds.
Output: {"pass", "details": {"reasons", "metrics", "ledger"}}.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from kit.pipeline.assertion import metric_limits
from kit.pipeline.assertion.ledger_scan import PASS, scan
from kit.pipeline.assertion.ledger_window import MINUTES_MAX, read_windows

READ_S_MAX = 10.0  # of the function's 15 s; the rest is for its start, the metrics and the scan
CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """What the function calls and its clock, replaced in tests."""

    cloudwatch: Any
    dynamodb: Any
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class BadInput(ValueError):
    """The state machine sent something else than the input of this function."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run in AWS Lambda."""
    cloudwatch, dynamodb = (boto3.client(name, config=CONFIG) for name in ("cloudwatch", "dynamodb"))
    return judge(event, Aws(cloudwatch=cloudwatch, dynamodb=dynamodb))


def judge(event: Mapping[str, Any], aws: Aws) -> dict[str, Any]:
    """Hold the metrics against their limits and scan the ledger; raises BadInput."""
    asked = _checked(event)
    held = metric_limits.hold(
        aws.cloudwatch, asked["env"], start=asked["start"], end=asked["end"], limits=asked["limits"]
    )
    ledger = _scanned(asked, aws)
    reasons = [one.detail for one in held if not one.passes] + ledger["reasons"]
    return {
        "pass": not reasons,
        "details": {
            "assertion": asked["assertion"],
            "reasons": reasons,
            "metrics": [
                {
                    "name": one.name,
                    "measured": one.measured,
                    "limit": one.limit,
                    "pass": one.passes,
                    "detail": one.detail,
                }
                for one in held
            ],
            "ledger": ledger["shown"],
        },
    }


def _scanned(asked: Mapping[str, Any], aws: Aws) -> dict[str, Any]:
    now, deadline_s = aws.now(), aws.monotonic() + READ_S_MAX
    since = now - asked["minutes"] * 60
    windows = read_windows(
        aws.dynamodb,
        asked["table"],
        asked["markets"],
        since=since,
        now=now,
        in_time=lambda: aws.monotonic() < deadline_s,
    )
    scanned = scan([window.part for window in windows])
    cut = [
        f"ledger of {window.market} was not read back to its window's start: {window.cut}"
        for window in windows
        if window.cut
    ]
    return {
        "reasons": [f"{one.rule.name}: {one.detail}" for one in scanned if one.status != PASS] + cut,
        "shown": {
            "since": since,
            "events": sum(len(window.part.events) for window in windows),
            "rules": [
                {
                    "name": one.rule.name, "status": one.status, "examined": one.examined,
                    "violations": one.violations, "detail": one.detail,
                }
                for one in scanned
            ],
        },
    }  # fmt: skip


def _checked(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input's values, each with its type. Raises BadInput, which names what is wrong."""
    window, limits, ledger = (_mapping(event, name) for name in ("window", "limits", "ledger"))
    if unknown := sorted(limits.keys() - set(metric_limits.JUDGED)):
        raise BadInput(f"limits has {unknown[0]!r}; known: {', '.join(metric_limits.JUDGED)}")
    checked = {
        "assertion": _text(event, "assertion"),
        "env": _text(event, "env"),
        "start": _number(window, "start"),
        "end": _number(window, "end"),
        "limits": {name: None if limit is None else _number(limits, name) for name, limit in limits.items()},
        "table": _text(ledger, "table"),
        "markets": ledger.get("markets"),
        "minutes": _number(ledger, "minutes"),
    }
    if not isinstance(checked["markets"], list) or not checked["markets"]:
        raise BadInput(f"ledger.markets={checked['markets']!r:.60} must be a list of symbols")
    if not 0 < checked["minutes"] <= MINUTES_MAX:
        raise BadInput(f"ledger.minutes={checked['minutes']} must be above 0 and at most {MINUTES_MAX}")
    return checked


def _mapping(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if not isinstance(value, Mapping):
        raise BadInput(f"{name}={value!r:.60} must be an object")
    return value


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name}={value!r:.60} must be text")
    return value


def _number(event: Mapping[str, Any], name: str) -> float:
    value = event.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise BadInput(f"{name}={value!r:.60} must be a number")
    return float(value)
