"""Check the syntax of DynamoDB's UpdateExpression.

MiniStack ignores what it cannot parse and answers 200, so an application with a typo would pass here and fail on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

CLAUSES = ("SET", "REMOVE", "ADD", "DELETE")
# DynamoDB's limit for one expression.
EXPRESSION_BYTES_MAX = 4096
EXPRESSIONS_REMEMBERED_MAX = 1024

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<name>#\w+)|(?P<value>:\w+)|(?P<index>\[\d+\])|(?P<mark>[(),.+=-]))"
)
_END = ("end", "<EOF>")

Token = tuple[str, str]


@lru_cache(maxsize=EXPRESSIONS_REMEMBERED_MAX)
def syntax_error(expression: str) -> str:
    """Return DynamoDB's message for a syntax error, or "" for a valid expression."""
    if len(expression.encode()) > EXPRESSION_BYTES_MAX:
        return f"Expression size has exceeded the maximum allowed size; expression size: {len(expression.encode())}"
    try:
        _Parser(_tokens(expression)).expression()
    except _Unexpected as error:
        return str(error)
    return ""


class _Unexpected(Exception):
    """The grammar does not allow a token here."""


def _tokens(expression: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    text = expression.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            token = text[at:].split()[0][0]
            raise _Unexpected(f'Syntax error; token: "{token}", near: "{text[at : at + 20].strip()}"')
        kind = match.lastgroup or ""
        found.append((match[kind] if kind == "mark" else kind, match[kind]))
        at = match.end()
    return [*found, _END]


class _Parser:
    """A recursive-descent parser."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def expression(self) -> None:
        seen: set[str] = set()
        while self._kind() != "end":
            clause = self._take("word").upper()
            if clause not in CLAUSES:
                self._fail(self._at - 1)
            if clause in seen:
                raise _Unexpected(f'The "{clause}" section can only be used once in an update expression;')
            seen.add(clause)
            self._list({"SET": self._assignment, "REMOVE": self._path}.get(clause, self._path_and_value))
        if not seen:
            raise _Unexpected("The expression can not be empty;")

    def _list(self, item: Callable[[], None]) -> None:
        item()
        while self._skip(","):
            item()

    def _assignment(self) -> None:
        self._path()
        self._take("=")
        self._value()

    def _path_and_value(self) -> None:
        self._path()
        self._take("value")

    def _value(self) -> None:
        """Parse one operand, or two with + or - between. Longer sums are a syntax error in DynamoDB, too."""
        self._operand()
        if self._skip("+") or self._skip("-"):
            self._operand()

    def _operand(self) -> None:
        if self._skip("("):
            self._value()
            self._take(")")
        elif not self._skip("value"):
            function = self._tokens[self._at][1] if self._kind(1) == "(" else ""
            if not function:
                self._path()
            elif function in ("if_not_exists", "list_append"):
                self._function(function)
            else:
                raise _Unexpected(f"Invalid function name; function: {function}")

    def _function(self, name: str) -> None:
        self._take("word")
        self._take("(")
        (self._path if name == "if_not_exists" else self._operand)()
        self._take(",")
        self._operand()
        self._take(")")

    def _path(self) -> None:
        self._name()
        while True:
            if self._skip("."):
                self._name()
            elif not self._skip("index"):
                return

    def _name(self) -> None:
        if not self._skip("name"):
            self._take("word")

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at][0] if at < len(self._tokens) else "end"

    def _skip(self, kind: str) -> bool:
        if self._kind() != kind:
            return False
        self._at += 1
        return True

    def _take(self, kind: str) -> str:
        if self._kind() != kind:
            self._fail(self._at)
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _fail(self, at: int) -> None:
        near = " ".join(text for _, text in self._tokens[max(0, at - 1) : at + 2] if text != _END[1])
        raise _Unexpected(f'Syntax error; token: "{self._tokens[at][1]}", near: "{near}"')
