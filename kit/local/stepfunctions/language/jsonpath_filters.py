"""Parse the filters of JSONPath, such as `[?(@.price < 10 && @.name =~ /a.*/i)]`, into predicates."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from kit.errors import KitError

QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_TOKEN = re.compile(
    r"\s*(?:(?P<op>&&|\|\||==|!=|<=|>=|=~|<|>|!(?!=)|\(|\))"
    r"|(?P<regex>/(?:[^/\\]|\\.)+/[a-z]*)"
    r"|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<path>[@$])"
    r"|(?P<list>\[)"
    r"|(?P<word>[A-Za-z_]+))"
)
_MISSING = object()
_CONSTANTS = {"true": True, "false": False, "null": None}

# An item and the whole document → whether the item is selected.
Predicate = Callable[[Any, Any], bool]
Operand = Callable[[Any, Any], Any]
# The text of a path → a function that reads it from a document, raising KitError.
Compile = Callable[[str], Callable[[Any], Any]]


class FilterInvalid(KitError):
    """The text is not a filter."""


def parse(text: str, compile_path: Compile) -> Predicate:
    """Parse the expression between the parentheses. Raises FilterInvalid."""
    parser = _Parser(text, compile_path)
    predicate = parser.any_of()
    parser.expect_end()
    return predicate


def closing(text: str, start: int, opens: str, closes: str) -> int:
    """Return where the bracket at `start` is closed, or -1. Brackets in quotes do not count."""
    depth, at = 0, start
    while at < len(text):
        if match := QUOTED.match(text, at):
            at = match.end()
            continue
        depth += (text[at] == opens) - (text[at] == closes)
        if depth == 0:
            return at
        at += 1
    return -1


def unquote(text: str) -> str:
    """Return the content of a quoted text, in which a backslash escapes the next character."""
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


class _Parser:
    def __init__(self, text: str, compile_path: Compile) -> None:
        self._text = text
        self._compile = compile_path
        self._at = 0

    def any_of(self) -> Predicate:
        terms = [self._all_of()]
        while self._take("||"):
            terms.append(self._all_of())
        return terms[0] if len(terms) == 1 else lambda item, root: any(term(item, root) for term in terms)

    def expect_end(self) -> None:
        if self._text[self._at :].strip():
            raise FilterInvalid(f"unexpected {self._text[self._at :].strip()!r} in a filter")

    def _all_of(self) -> Predicate:
        terms = [self._term()]
        while self._take("&&"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda item, root: all(term(item, root) for term in terms)

    def _term(self) -> Predicate:
        if self._take("!"):
            inner = self._term()
            return lambda item, root: not inner(item, root)
        if self._take("("):
            inner = self.any_of()
            if not self._take(")"):
                raise FilterInvalid("a parenthesis is not closed in a filter")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        left = self._operand()
        match = _TOKEN.match(self._text, self._at)
        name = (match["op"] or (match["word"] or "").lower()) if match else ""
        compare = COMPARISONS.get(name)
        if match is None or compare is None:
            return lambda item, root: left(item, root) is not _MISSING
        self._at = match.end()
        right = self._operand()
        return lambda item, root: compare(left(item, root), right(item, root))

    def _take(self, operator: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["op"] != operator:
            return False
        self._at = match.end()
        return True

    def _operand(self) -> Operand:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["op"]:
            raise FilterInvalid(f"a value is missing at {self._text[self._at :].strip()!r} in a filter")
        if match["path"]:
            return self._path(match.end() - 1)
        if match["list"]:
            end = closing(self._text, match.end() - 1, "[", "]")
            return self._constant(end + 1, _json(self._text[match.end() - 1 : end + 1]))
        if match["regex"]:
            return self._constant(match.end(), _regex(match["regex"]))
        if match["string"]:
            return self._constant(match.end(), unquote(match["string"]))
        if match["number"]:
            return self._constant(match.end(), json.loads(match["number"]))
        if match["word"] not in _CONSTANTS:
            raise FilterInvalid(f"{match['word']!r} is not a value")
        return self._constant(match.end(), _CONSTANTS[match["word"]])

    def _constant(self, end: int, value: Any) -> Operand:
        self._at = end
        return lambda _item, _root: value

    def _path(self, start: int) -> Operand:
        at = start + 1
        while at < len(self._text):
            if self._text[at] == "[":
                at = closing(self._text, at, "[", "]")
                if at < 0:
                    raise FilterInvalid("a bracket is not closed in a filter")
            elif self._text.startswith("()", at):
                at += 1
            elif self._text[at] in " )=!<>&|\t":
                break
            at += 1
        self._at = at
        read = self._compile(self._text[start:at])
        is_root = self._text[start] == "$"

        def value(item: Any, root: Any) -> Any:
            try:
                return read(root if is_root else item)
            except KitError:
                return _MISSING

        return value


def _json(text: str) -> Any:
    try:
        return json.loads(text.replace("'", '"'))
    except ValueError as error:
        raise FilterInvalid(f"{text!r} is not a list") from error


def _regex(text: str) -> re.Pattern[str]:
    pattern, _, flags = text[1:].rpartition("/")
    try:
        return re.compile(pattern, re.IGNORECASE if "i" in flags else 0)
    except re.error as error:
        raise FilterInvalid(f"{text!r} is not a regular expression: {error}") from error


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def _equals(left: Any, right: Any) -> bool:
    return left is not _MISSING and _kind(left) == _kind(right) and left == right


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(left: Any, right: Any) -> bool:
        return _kind(left) == _kind(right) and _kind(left) in ("number", "str") and compare(left, right)

    return check


def _matches(left: Any, right: Any) -> bool:
    pattern, text = (right, left) if isinstance(right, re.Pattern) else (left, right)
    return isinstance(pattern, re.Pattern) and isinstance(text, str) and pattern.fullmatch(text) is not None


def _in(left: Any, right: Any) -> bool:
    return isinstance(right, list) and any(_equals(left, item) for item in right)


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return isinstance(right, str) and right in left
    return _in(right, left)


def _all_in(left: Any, right: Any) -> bool:
    return isinstance(left, list) and all(_in(item, right) for item in left)


def _any_in(left: Any, right: Any) -> bool:
    return isinstance(left, list) and any(_in(item, right) for item in left)


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equals,
    "!=": lambda left, right: not _equals(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "=~": _matches,
    "in": _in,
    "nin": lambda left, right: not _in(left, right),
    "contains": _contains,
    "subsetof": _all_in,
    "anyof": _any_in,
    "noneof": lambda left, right: isinstance(left, list) and not _any_in(left, right),
    "size": lambda left, right: isinstance(left, list | str) and _equals(len(left), right),
    "empty": lambda left, right: isinstance(left, list | str) and (not left) is right,
}
