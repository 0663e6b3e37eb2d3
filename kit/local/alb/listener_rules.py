"""Compile listener rules from the records of the control plane, and choose the action for a request."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

REDIRECT_DEFAULTS: Mapping[str, str] = {
    "Protocol": "#{protocol}",
    "Host": "#{host}",
    "Port": "#{port}",
    "Path": "/#{path}",
    "Query": "#{query}",
}
# The content type of a fixed response that names none.
CONTENT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with a request: `forward`, `fixed-response` or `redirect`. `groups` are target groups and weights."""

    kind: str
    groups: tuple[tuple[str, int], ...] = ()
    status: int = 0
    content_type: str = CONTENT_TYPE
    body: str = ""
    redirect: tuple[tuple[str, str], ...] = ()

    def choose_group(self, rng: random.Random) -> str:
        """Draw a target group by weight. Returns an empty string if no group has any weight."""
        if len(self.groups) == 1:
            return self.groups[0][0] if self.groups[0][1] else ""
        weights = [weight for _, weight in self.groups]
        return rng.choices([arn for arn, _ in self.groups], weights)[0] if any(weights) else ""


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a pattern between two `*`. All texts that it matches have the same length."""

    pattern: re.Pattern[str]
    length: int


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A pattern with `*` and `?`, matched in time that grows with the text's length times the pattern's.

    A regular expression with several `.*` would take polynomial time on a hostile request.
    """

    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, pattern: str, *, ignore_case: bool, has_escapes: bool = False) -> Wildcard:
        """Compile a pattern. With escapes, `\\*` and `\\?` stand for the characters themselves."""
        flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        parts: list[list[str]] = [[]]
        for token in re.findall(r"\\[*?\\]|.", pattern, re.DOTALL) if has_escapes else pattern:
            if token == "*":
                parts.append([])
            else:
                parts[-1].append("." if token == "?" else re.escape(token[-1]))
        return cls(tuple(Segment(re.compile("".join(part), flags), len(part)) for part in parts))

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches."""
        first, *rest = self.segments
        if not rest:
            return first.pattern.fullmatch(text) is not None
        *middle, last = rest
        at, end = first.length, len(text) - last.length
        if end < at or not first.pattern.match(text) or not last.pattern.fullmatch(text, end):
            return False
        for segment in middle:
            found = segment.pattern.search(text, at, end)
            if found is None:
                return False
            at = found.end()
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule: any of its patterns, pairs or networks must match."""

    field: str
    patterns: tuple[Wildcard, ...] = ()
    header: str = ""
    pairs: tuple[tuple[Wildcard | None, Wildcard], ...] = ()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An action and the conditions that must all hold. Rules are tried in order of priority."""

    conditions: tuple[Condition, ...]
    action: Action


def compile_rules(rules: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Compile the records of rules, which are in order of priority, the default rule last."""
    return tuple(
        Rule(
            conditions=tuple(_compile_condition(c) for c in rule["Conditions"]),
            action=_compile_action(rule["Actions"][0]),
        )
        for rule in rules
    )


def choose_action(rules: tuple[Rule, ...], method: bytes, target: bytes, head: bytes, address: bytes) -> Action:
    """Return the action of the first rule that matches. The raw `head` is parsed only if a rule has conditions."""
    if not rules[0].conditions:
        return rules[0].action
    request = _Request(method, target, head, address)
    for rule in rules:
        if all(request.meets(condition) for condition in rule.conditions):
            return rule.action
    return rules[-1].action


def redirect_location(action: Action, target: bytes, host: str, port: int) -> str:
    """Fill the `#{…}` placeholders of a redirect. The port is always written, as on AWS."""
    path, _, query = target.decode("latin-1").partition("?")
    given = {"protocol": "http", "host": host.partition(":")[0] or "localhost", "port": str(port),
             "path": path.lstrip("/"), "query": query}  # fmt: skip
    fields = {
        name: re.sub(r"#\{(protocol|host|port|path|query)\}", lambda found: given[found[1]], template)
        for name, template in action.redirect
    }
    location = f"{fields['Protocol'].lower()}://{fields['Host']}:{fields['Port']}{fields['Path']}"
    return f"{location}?{fields['Query']}" if fields["Query"] else location


class _Request:
    """The parts of a request that conditions look at."""

    def __init__(self, method: bytes, target: bytes, head: bytes, address: bytes) -> None:
        self.method = method.decode("latin-1")
        self.path, _, query = target.decode("latin-1").partition("?")
        self.query = parse_qsl(query, keep_blank_values=True)
        self.address = ipaddress.ip_address(address.decode("latin-1"))
        self.headers: dict[str, list[str]] = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers.setdefault(name.lower(), []).append(value.strip())

    def meets(self, condition: Condition) -> bool:
        """Return whether any value of the condition matches."""
        match condition.field:
            case "path-pattern":
                return _any_match(condition, [self.path])
            case "host-header":
                return _any_match(condition, [h.partition(":")[0] for h in self.headers.get("host", [])])
            case "http-request-method":
                return _any_match(condition, [self.method])
            case "http-header":
                return _any_match(condition, self.headers.get(condition.header, []))
            case "query-string":
                return any(self._has_pair(key, value) for key, value in condition.pairs)
            case "source-ip":
                return any(self.address in network for network in condition.networks)
        return False

    def _has_pair(self, key: Wildcard | None, value: Wildcard) -> bool:
        return any((key is None or key.matches(k)) and value.matches(v) for k, v in self.query)


def _any_match(condition: Condition, values: list[str]) -> bool:
    return any(pattern.matches(value) for pattern in condition.patterns for value in values)


def _compile_condition(condition: Mapping[str, Any]) -> Condition:
    field = condition["Field"]
    if field == "query-string":
        values = condition["QueryStringConfig"]["Values"]
        return Condition(field=field, pairs=tuple(_compile_pair(value) for value in values))
    if field == "source-ip":
        values = condition["SourceIpConfig"]["Values"]
        return Condition(field=field, networks=tuple(ipaddress.ip_network(value) for value in values))
    header = condition.get("HttpHeaderConfig") or {}
    method = condition.get("HttpRequestMethodConfig") or {}
    ignore_case = field in ("host-header", "http-header")
    values = condition.get("Values") or header.get("Values") or method.get("Values") or []
    if field == "http-request-method":
        # Methods are compared literally; wildcards are not supported.
        patterns = tuple(Wildcard((Segment(re.compile(re.escape(value)), len(value)),)) for value in values)
    else:
        patterns = tuple(Wildcard.of(value, ignore_case=ignore_case) for value in values)
    return Condition(field=field, patterns=patterns, header=header.get("HttpHeaderName", "").lower())


def _compile_pair(pair: Mapping[str, str]) -> tuple[Wildcard | None, Wildcard]:
    key, value = (Wildcard.of(pair.get(name, ""), ignore_case=True, has_escapes=True) for name in ("Key", "Value"))
    return (key if pair.get("Key") else None, value)


def _compile_action(action: Mapping[str, Any]) -> Action:
    kind = action["Type"]
    if kind == "fixed-response":
        fixed = action["FixedResponseConfig"]
        return Action(
            kind=kind,
            status=int(fixed["StatusCode"]),
            content_type=str(fixed.get("ContentType") or CONTENT_TYPE),
            body=str(fixed.get("MessageBody", "")),
        )
    if kind == "redirect":
        config = action["RedirectConfig"]
        return Action(
            kind=kind,
            status=int(config["StatusCode"].removeprefix("HTTP_")),
            redirect=tuple((name, config[name]) for name in REDIRECT_DEFAULTS),
        )
    groups = action["ForwardConfig"]["TargetGroups"]
    return Action(kind=kind, groups=tuple((each["TargetGroupArn"], each["Weight"]) for each in groups))
