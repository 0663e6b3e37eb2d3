"""Compile listener rules from MiniStack's records, and choose the action for a request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with a request: `forward`, `fixed-response`, `redirect`, or a type that is not implemented."""

    kind: str
    target_group_arn: str = ""
    status: int = 0
    content_type: str = "text/plain"
    body: str = ""
    redirect: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule. Every pattern is a compiled wildcard expression."""

    field: str
    patterns: tuple[re.Pattern[str], ...]
    header: str = ""
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An action and the conditions that must all hold. Rules are tried in order of priority."""

    conditions: tuple[Condition, ...]
    action: Action


def compile_rules(rules: list[Mapping[str, Any]], default_actions: list[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Compile rules in order of priority, the default rule last."""
    compiled = [
        Rule(
            conditions=tuple(_compile_condition(c) for c in rule.get("Conditions", [])),
            action=_compile_action(rule.get("Actions") or default_actions),
        )
        for rule in sorted(rules, key=_priority)
    ]
    if not any(not rule.conditions for rule in compiled):
        compiled.append(Rule(conditions=(), action=_compile_action(default_actions)))
    return tuple(compiled)


def choose_action(rules: tuple[Rule, ...], method: bytes, target: bytes, head: bytes) -> Action:
    """Return the action of the first rule that matches. The raw `head` is parsed only if a rule has conditions."""
    if not rules[0].conditions:
        return rules[0].action
    request = _Request(method, target, head)
    for rule in rules:
        if all(request.meets(condition) for condition in rule.conditions):
            return rule.action
    return rules[-1].action


def redirect_location(action: Action, target: bytes, host: str, port: int) -> str:
    """Fill the `#{…}` placeholders of a redirect. The port is always written, as on AWS."""
    path, _, query = target.decode("latin-1").partition("?")
    fields = dict(action.redirect)
    host = host.partition(":")[0] or "localhost"
    protocol = fields["Protocol"].replace("#{protocol}", "http").lower()
    new_host = fields["Host"].replace("#{host}", host)
    new_port = fields["Port"].replace("#{port}", str(port))
    new_path = fields["Path"].replace("#{path}", path.lstrip("/"))
    new_query = fields["Query"].replace("#{query}", query)
    return f"{protocol}://{new_host}:{new_port}{new_path}" + (f"?{new_query}" if new_query else "")


class _Request:
    """The parts of a request that conditions look at."""

    def __init__(self, method: bytes, target: bytes, head: bytes) -> None:
        self.method = method.decode("latin-1")
        path, _, query = target.decode("latin-1").partition("?")
        self.path = path
        self.query = parse_qsl(query, keep_blank_values=True)
        self.headers: dict[str, list[str]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers.setdefault(name.lower(), []).append(value.strip())

    def meets(self, condition: Condition) -> bool:
        """Return whether any value of the condition matches. An unknown field never matches."""
        match condition.field:
            case "path-pattern":
                return _any_match(condition, [self.path])
            case "host-header":
                return _any_match(condition, [h.partition(":")[0] for h in self.headers.get("host", [])])
            case "http-request-method" | "http-method":
                return _any_match(condition, [self.method])
            case "http-header":
                return _any_match(condition, self.headers.get(condition.header, []))
            case "query-string":
                return any(self._has_pair(key, value) for key, value in condition.pairs)
            case "source-ip":
                # All clients come from 127.0.0.1. MiniStack treats the condition as met as well.
                return True
        return False

    def _has_pair(self, key: str, value: str) -> bool:
        pattern = _wildcard(value)
        return any((not key or k.lower() == key.lower()) and pattern.fullmatch(v) for k, v in self.query)


def _any_match(condition: Condition, values: list[str]) -> bool:
    return any(pattern.fullmatch(value) for pattern in condition.patterns for value in values)


def _wildcard(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text, re.DOTALL)


def _compile_condition(condition: Mapping[str, Any]) -> Condition:
    field = condition.get("Field", "")
    header = condition.get("HttpHeaderConfig") or {}
    values = list(condition.get("Values") or header.get("Values") or [])
    pairs = []
    for value in values if field == "query-string" else []:
        if isinstance(value, Mapping):
            pairs.append((str(value.get("Key", "")), str(value.get("Value", ""))))
        else:
            key, equals, wanted = str(value).partition("=")
            pairs.append((key, wanted) if equals else ("", key))
    ignore_case = re.IGNORECASE if field in ("host-header", "http-header") else 0
    patterns = () if pairs else tuple(re.compile(_wildcard(str(v)).pattern, re.DOTALL | ignore_case) for v in values)
    return Condition(
        field=field,
        patterns=patterns,
        header=str(header.get("HttpHeaderName", "")).lower(),
        pairs=tuple(pairs),
    )


_REDIRECT_DEFAULTS = {
    "Protocol": "#{protocol}",
    "Host": "#{host}",
    "Port": "#{port}",
    "Path": "/#{path}",
    "Query": "#{query}",
}


def _compile_action(actions: list[Mapping[str, Any]]) -> Action:
    ordered = sorted(actions, key=lambda a: int(a.get("Order", 1) or 1))
    if not ordered:
        return Action(kind="none")
    action = ordered[0]
    kind = str(action.get("Type", "")).lower()
    if kind == "fixed-response":
        fixed = action.get("FixedResponseConfig") or {}
        return Action(
            kind=kind,
            status=int(fixed.get("StatusCode", 200)),
            content_type=str(fixed.get("ContentType", "text/plain")),
            body=str(fixed.get("MessageBody", "")),
        )
    if kind == "redirect":
        config = action.get("RedirectConfig") or {}
        return Action(
            kind=kind,
            status=int(str(config.get("StatusCode", "HTTP_301")).removeprefix("HTTP_")),
            redirect=tuple((k, str(config.get(k, default))) for k, default in _REDIRECT_DEFAULTS.items()),
        )
    return Action(kind=kind, target_group_arn=str(action.get("TargetGroupArn", "")))


def _priority(rule: Mapping[str, Any]) -> tuple[int, int]:
    priority = str(rule.get("Priority", "default"))
    return (0, int(priority)) if priority.isdigit() else (1, 0)
