"""Parse and evaluate the intrinsic functions of JSONPath states, such as `States.Format('{}', $.name)`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kit.errors import KitError
from kit.local.stepfunctions.language import intrinsic_functions, jsonpath
from kit.local.stepfunctions.language.intrinsic_functions import FunctionFailed
from kit.local.stepfunctions.language.jsonpath_filters import closing

_CALL = re.compile(r"\s*States\.(\w+)\s*\(")
_NUMBER = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")
_STRING = re.compile(r"\s*'((?:[^'\\]|\\.)*)'", re.DOTALL)
# A backslash that escapes none of the characters that may be.
_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\[^'{}\\])", re.DOTALL)
ESCAPES = r"\' \{ \} \\"
_CONSTANT = re.compile(r"\s*(true|false|null)\b")
_CONSTANTS = {"true": True, "false": False, "null": None}
NESTING_MAX = 10

# A path → its value. Raises KitError if there is none.
Read = Callable[[str], Any]


class IntrinsicInvalid(KitError):
    """The text is not a call of an intrinsic function."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant argument."""

    value: Any


@dataclass(frozen=True, slots=True)
class PathArgument:
    """An argument that is read from the input, the context or a variable."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call with its arguments. `text` is how it was written."""

    name: str
    arguments: tuple[Literal | PathArgument | Call, ...]
    text: str


def is_call(text: str) -> bool:
    """Return whether the text looks like a call."""
    return _CALL.match(text) is not None


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Call:
    """Parse a call. Raises IntrinsicInvalid."""
    parser = _Parser(text)
    call = parser.call(0)
    if parser.rest():
        raise IntrinsicInvalid(f"{text!r}: unexpected {parser.rest()!r}")
    return call


def paths(call: Call) -> Iterator[str]:
    """Yield the paths that the call reads."""
    for argument in call.arguments:
        if isinstance(argument, PathArgument):
            yield argument.text
        elif isinstance(argument, Call):
            yield from paths(argument)


def evaluate(call: Call, read: Read) -> Any:
    """Return the result of a call. Raises FunctionFailed, and what `read` raises."""
    values = [_value(argument, read) for argument in call.arguments]
    try:
        return intrinsic_functions.FUNCTIONS[call.name].apply(*values)
    except FunctionFailed as failed:
        raise FunctionFailed(f"The function '{call.text}' had the following error: {failed}") from failed


def _value(argument: Literal | PathArgument | Call, read: Read) -> Any:
    if isinstance(argument, Literal):
        return argument.value
    return evaluate(argument, read) if isinstance(argument, Call) else read(argument.text)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rest(self) -> str:
        return self._text[self._at :].strip()

    def call(self, depth: int) -> Call:
        begin = self._at
        match = _CALL.match(self._text, self._at)
        if match is None or depth >= NESTING_MAX:
            raise self._invalid(f"calls are nested deeper than {NESTING_MAX}" if match else "no call of a function")
        function = intrinsic_functions.FUNCTIONS.get(match[1])
        if function is None:
            raise self._invalid(f"unknown function States.{match[1]}")
        self._at = match.end()
        arguments = tuple(self._arguments(depth))
        if not function.least <= len(arguments) <= function.most:
            raise self._invalid(f"States.{match[1]} takes {function.arity()}, not {len(arguments)}")
        return Call(match[1], arguments, self._text[begin : self._at].strip())

    def _arguments(self, depth: int) -> Iterator[Literal | PathArgument | Call]:
        if self._take(")"):
            return
        while True:
            yield self._argument(depth)
            if self._take(")"):
                return
            if not self._take(","):
                raise self._invalid("',' or ')' is missing")

    def _argument(self, depth: int) -> Literal | PathArgument | Call:
        text = self._text
        if _CALL.match(text, self._at):
            return self.call(depth + 1)
        if match := _STRING.match(text, self._at):
            self._at = match.end()
            if wrong := _ESCAPE.search(match[1]):
                raise self._invalid(f"{wrong[0]!r} is no escape; those are {ESCAPES}")
            return Literal(intrinsic_functions.unescape(match[1]))
        if match := _NUMBER.match(text, self._at):
            self._at = match.end()
            return Literal(float(match[1]) if re.search(r"[.eE]", match[1]) else int(match[1]))
        if match := _CONSTANT.match(text, self._at):
            self._at = match.end()
            return Literal(_CONSTANTS[match[1]])
        return self._path()

    def _path(self) -> PathArgument:
        self._skip_spaces()
        text, begin = self._text, self._at
        if not text.startswith("$", begin):
            raise self._invalid(f"{text[begin:]!r} is not an argument")
        at = begin
        while at < len(text) and text[at] not in ",)":
            at = closing(text, at, "[", "]") if text[at] == "[" else at
            if at < 0:
                raise self._invalid("a bracket is not closed")
            # The functions of paths, such as `$.items.length()`.
            at += 2 if text.startswith("()", at + 1) else 1
            at += text.startswith(")", at) and text.startswith("()", at - 1)
        self._at = at
        path = text[begin:at].strip()
        check_path(path)
        return PathArgument(path)

    def _take(self, char: str) -> bool:
        self._skip_spaces()
        if not self._text.startswith(char, self._at):
            return False
        self._at += 1
        return True

    def _skip_spaces(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _invalid(self, reason: str) -> IntrinsicInvalid:
        return IntrinsicInvalid(f"{self._text!r}: {reason}")


_VARIABLE = re.compile(r"\$(?P<name>[A-Za-z_][\w]*)")


def split_path(path: str) -> tuple[str, str]:
    """Return the root of a path (`$$`, the name of a variable, or "") and the rest as a path of its own."""
    if path.startswith("$$"):
        return "$$", "$" + path[2:]
    if match := _VARIABLE.match(path):
        return match["name"], "$" + path[match.end() :]
    return "", path


def check_path(path: str) -> jsonpath.Path:
    """Parse a path of the input, of the context or of a variable. Raises PathInvalid."""
    if not path.startswith("$"):
        raise jsonpath.PathInvalid(f"path {path!r} does not begin with $")
    return jsonpath.parse(split_path(path)[1])
