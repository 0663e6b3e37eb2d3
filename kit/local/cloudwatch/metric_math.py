"""Evaluate a subset of metric math, and refuse everything else.

Supported: numbers, query ids, `[a, b]`, `METRICS()`; `+ - * / ^`, unary minus, comparisons, `AND OR && ||`;
`IF`, `FILL` (a number, REPEAT, LINEAR), `SUM`, `AVG`, `MAX`, `MIN`.

As on AWS, an operator between two series gives a datapoint only where both have one, a division by zero gives none, and
an aggregate over an array gives one wherever any member has one.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kit.local.cloudwatch.series import Series, UnsupportedQuery

Value = float | Series | list[Series]

# `^` and nesting are bounded so that an expression cannot hang the event loop.
DEPTH_MAX = 64
EXPRESSION_CHARS_MAX = 2048

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)"
    r'|(?P<text>"[^"]*"|\'[^\']*\')'
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/^()<>,\[\]]))"
)

_Pair = Callable[[float, float], float]


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def _power(left: float, right: float) -> float:
    try:
        result = left**right
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return result if isinstance(result, float | int) else math.nan


def _truth(test: Callable[[float, float], bool]) -> _Pair:
    return lambda left, right: 1.0 if test(left, right) else 0.0


_OPERATORS: dict[str, tuple[int, _Pair]] = {
    "OR": (1, _truth(lambda left, right: bool(left) or bool(right))),
    "AND": (2, _truth(lambda left, right: bool(left) and bool(right))),
    "==": (3, _truth(operator.eq)),
    "!=": (3, _truth(operator.ne)),
    "<": (4, _truth(operator.lt)),
    "<=": (4, _truth(operator.le)),
    ">": (4, _truth(operator.gt)),
    ">=": (4, _truth(operator.ge)),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
    "/": (6, _divide),
    "^": (7, _power),
}
_ALIASES = {"&&": "AND", "||": "OR"}
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MAX": max,
    "MIN": min,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The input of an expression: series by query id, the ids that are metrics, and the periods in range."""

    series: Callable[[str], Value]
    metric_ids: Sequence[str]
    times: Sequence[int]


_Node = Callable[[Scope], Value]


class _Token(NamedTuple):
    kind: str
    text: str


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[_Token]
    at: int = 0
    depth: int = 0
    ids: set[str] = field(default_factory=set)
    uses_all: bool = False

    def refuse(self, why: str) -> UnsupportedQuery:
        return UnsupportedQuery(f"metric math {self.text!r}: {why}")

    def peek(self) -> str:
        return self.tokens[self.at].text

    def take(self, expected: str | None = None) -> _Token:
        token = self.tokens[self.at]
        if expected is not None and token.text != expected:
            raise self.refuse(f"expected {expected!r}, found {token.text or 'the end'!r}")
        self.at += 1
        return token

    def expression(self, binding: int = 0) -> _Node:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.refuse(f"nested deeper than {DEPTH_MAX}")
        left = self.operand()
        while True:
            name = _ALIASES.get(self.peek(), self.peek())
            strength, pair = _OPERATORS.get(name, (0, None))
            if pair is None or strength <= binding:
                break
            self.take()
            left = _binary(pair, left, self.expression(strength))
        self.depth -= 1
        return left

    def operand(self) -> _Node:
        kind, text = self.take()
        if kind == "number":
            number = float(text)
            return lambda scope: number
        if text == "-":
            # Binds looser than `^` (-a^2 is -(a^2)) and tighter than the rest.
            return _binary(operator.mul, lambda scope: -1.0, self.expression(6))
        if text == "(":
            inner = self.expression()
            self.take(")")
            return inner
        if text == "[":
            return self.array()
        if kind == "word" and self.peek() == "(":
            return self.call(text)
        if kind == "word" and text[0].islower():
            self.ids.add(text)
            return lambda scope: scope.series(text)
        raise self.refuse(f"{text or 'the end'!r} is not supported here")

    def array(self) -> _Node:
        members = self.arguments("]")
        return lambda scope: [_as_series(member(scope), self) for member in members]

    def arguments(self, closing: str) -> list[_Node]:
        nodes: list[_Node] = []
        while self.peek() != closing:
            if nodes:
                self.take(",")
            nodes.append(self.expression())
        self.take(closing)
        return nodes

    def call(self, name: str) -> _Node:
        self.take("(")
        if name == "METRICS":
            return self.metrics()
        if name == "FILL":
            return self.fill()
        nodes = self.arguments(")")
        if name in _AGGREGATES and len(nodes) == 1:
            return _aggregate(_AGGREGATES[name], nodes[0], self)
        if name == "IF" and len(nodes) in (2, 3):
            return _choose(nodes, self)
        raise self.refuse(
            f"function {name} with {len(nodes)} argument(s) is not supported locally; "
            "supported are IF, FILL, METRICS, SUM, AVG, MAX and MIN"
        )

    def metrics(self) -> _Node:
        wanted = "" if self.peek() == ")" else self.take().text.strip("\"'")
        self.take(")")
        self.uses_all = True
        return lambda scope: [
            _as_series(scope.series(query_id), self) for query_id in scope.metric_ids if wanted in query_id
        ]

    def fill(self) -> _Node:
        source = self.expression()
        self.take(",")
        if self.peek() in ("REPEAT", "LINEAR"):
            mode = self.take().text
            self.take(")")
            return lambda scope: _map(source(scope), lambda one: _fill_between(one, scope.times, mode), self)
        filler = self.expression()
        self.take(")")
        return lambda scope: _map(source(scope), lambda one: _fill(one, filler(scope), scope.times, self), self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression: the query ids that it names, and whether it uses METRICS()."""

    text: str
    ids: frozenset[str]
    uses_all: bool
    node: _Node

    def evaluate(self, scope: Scope) -> Value:
        """Return its value without the datapoints that are not finite numbers."""
        return _clean(self.node(scope))


def parse(text: str) -> Expression:
    """Parse an expression. Raises UnsupportedQuery, which names what is not supported."""
    parser = _Parser(text, _tokens(text))
    node = parser.expression()
    if parser.peek():
        raise parser.refuse(f"unexpected {parser.peek()!r}")
    return Expression(text=text, ids=frozenset(parser.ids), uses_all=parser.uses_all, node=node)


def _tokens(text: str) -> list[_Token]:
    if len(text) > EXPRESSION_CHARS_MAX:
        raise UnsupportedQuery(f"metric math of {len(text)} characters exceeds {EXPRESSION_CHARS_MAX}")
    tokens: list[_Token] = []
    at, text_end = 0, len(text.rstrip())
    while at < text_end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise UnsupportedQuery(f"metric math {text!r}: cannot read {text[at : at + 12]!r}")
        tokens.append(_Token(match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return [*tokens, _Token("end", "")]


def _binary(pair: _Pair, left: _Node, right: _Node) -> _Node:
    return lambda scope: _combine(pair, left(scope), right(scope))


def _combine(pair: _Pair, left: Value, right: Value) -> Value:
    if isinstance(left, list) or isinstance(right, list):
        return _combine_arrays(pair, left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return {at: pair(left[at], right[at]) for at in left if at in right}
    if isinstance(left, dict):
        return {at: pair(value, right) for at, value in left.items()}  # type: ignore[arg-type]
    if isinstance(right, dict):
        return {at: pair(left, value) for at, value in right.items()}
    return pair(left, right)


def _combine_arrays(pair: _Pair, left: Value, right: Value) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        raise UnsupportedQuery("metric math: an operator between two arrays is not supported locally")
    if isinstance(left, list):
        return [_combine(pair, one, right) for one in left]  # type: ignore[misc]
    return [_combine(pair, left, one) for one in right]  # type: ignore[misc,union-attr]


def _aggregate(over: Callable[[Sequence[float]], float], node: _Node, parser: _Parser) -> _Node:
    def evaluate(scope: Scope) -> Value:
        value = node(scope)
        if isinstance(value, list):
            times = sorted({at for one in value for at in one})
            return {at: over([one[at] for one in value if at in one]) for at in times}
        if isinstance(value, dict):
            clean = [each for each in value.values() if math.isfinite(each)]
            return over(clean) if clean else math.nan
        raise parser.refuse("an aggregate needs a series or an array")

    return evaluate


def _choose(nodes: list[_Node], parser: _Parser) -> _Node:
    def evaluate(scope: Scope) -> Value:
        test, chosen, *rest = (node(scope) for node in nodes)
        other = rest[0] if rest else {}
        if any(isinstance(value, list) for value in (test, chosen, other)):
            raise parser.refuse("IF over an array is not supported locally")
        if not isinstance(test, dict):
            return chosen if test else other
        picked = {at: _at(chosen if value else other, at) for at, value in test.items()}
        return {at: value for at, value in picked.items() if value is not None}

    return evaluate


def _at(value: Value, at: int) -> float | None:
    return value.get(at) if isinstance(value, dict) else value  # type: ignore[return-value]


def _map(value: Value, change: Callable[[Series], Series], parser: _Parser) -> Value:
    if isinstance(value, list):
        return [change(one) for one in value]
    return change(_as_series(value, parser))


def _fill(series: Series, filler: Value, times: Sequence[int], parser: _Parser) -> Series:
    if isinstance(filler, list):
        raise parser.refuse("FILL with an array is not supported locally")
    filled = {at: series[at] if at in series else _at(filler, at) for at in times}
    return {at: value for at, value in filled.items() if value is not None}


def _fill_between(series: Series, times: Sequence[int], mode: str) -> Series:
    filled = dict(series)
    for at in times:
        if at in series:
            continue
        before = max((known for known in series if known < at), default=None)
        after = min((known for known in series if known > at), default=None)
        if before is None:
            continue
        if mode == "REPEAT" or after is None:
            filled[at] = series[before]
        else:
            filled[at] = series[before] + (series[after] - series[before]) * (at - before) / (after - before)
    return dict(sorted(filled.items()))


def _as_series(value: Value, parser: _Parser) -> Series:
    if isinstance(value, dict):
        return value
    raise parser.refuse("a series is needed here")


def _clean(value: Value) -> Value:
    if isinstance(value, list):
        return [_clean(one) for one in value]  # type: ignore[misc]
    if isinstance(value, dict):
        return {at: each for at, each in value.items() if math.isfinite(each)}
    return value
