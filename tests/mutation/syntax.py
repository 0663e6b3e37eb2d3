"""Walk a module's syntax tree with what a mutation operator needs to know about each node's surroundings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

# Logs and texts of errors are for people. A change to one breaks no promise of PaperBroker.
LOGGERS = frozenset({"_log", "log", "logger"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """The text of a module; columns of the tree are bytes, offsets here are characters."""

    path: Path
    text: str
    tree: ast.Module
    _starts: list[int] = field(repr=False)
    _lines: list[bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Module:
        text = path.read_text(encoding="utf-8")
        lines, starts = text.splitlines(keepends=True), [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        return cls(path, text, ast.parse(text), starts, [line.encode() for line in lines])

    def start(self, node: ast.AST) -> int:
        return self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def source(self, node: ast.AST) -> str:
        return self.text[self.start(node) : self.end(node)]

    def indent(self, node: ast.AST) -> str:
        return " " * node.col_offset  # type: ignore[attr-defined]

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node stands: its function, the names that are bound there, its statement and that one's block."""

    qualname: str = ""
    statement: ast.stmt | None = None
    function: Function | None = None
    names: frozenset[str] = frozenset()
    siblings: tuple[ast.stmt, ...] = ()


def walk(module: Module) -> Iterator[tuple[ast.AST, Place]]:
    """Yield every node that may be mutated, with its place.

    Left out: docstrings, annotations, decorators, logging, texts of errors, protocols and imports.
    """
    yield from _block(module.tree.body, Place())


def lines_of(statement: ast.stmt) -> range:
    """Return the lines of a statement without those of its block. Python reports only some of them as run."""
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return range(statement.lineno, max(end, statement.lineno) + 1)


def is_stub(function: Function) -> bool:
    """Return whether a function has no code: a protocol's method, or a docstring alone."""
    return all(isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in function.body)


def name_of(node: ast.AST) -> str:
    """Return the last name of a name or an attribute, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _block(statements: list[ast.stmt], place: Place) -> Iterator[tuple[ast.AST, Place]]:
    place = replace(place, siblings=tuple(statements))
    for statement in statements:
        yield from _node(statement, replace(place, statement=statement))


def _node(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    if _is_left_out(node):
        return
    if isinstance(node, ast.ClassDef):
        if not any(name_of(base) in ("Protocol", "TypedDict") for base in node.bases):
            yield from _block(node.body, Place(qualname=_join(place.qualname, node.name)))
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if is_stub(node):
            return
        name = _join(place.qualname, node.name)
        inner = Place(qualname=name, statement=node, function=node, names=_names(node))
        yield node, inner
        for default in [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]:
            yield from _node(default, inner)
        yield from _block(node.body, inner)
        return
    yield node, place
    for child in _children(node):
        if isinstance(child, list):
            yield from _block(child, place)
        else:
            yield from _node(child, place)


def _children(node: ast.AST) -> Iterator[ast.AST | list[ast.stmt]]:
    """Yield child nodes, and blocks of statements as lists; without annotations, and without an error's texts."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params"):
            continue
        if isinstance(node, ast.Raise) and name == "exc" and isinstance(value, ast.Call):
            continue
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
        elif isinstance(value, list):
            yield from (each for each in value if isinstance(each, ast.AST))
        elif isinstance(value, ast.AST):
            yield value


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and name_of(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and any(name_of(each) in ("__slots__", "__all__") for each in node.targets):
        return True
    if isinstance(node, ast.Call) and name_of(node.func) in ("cast", "TypeVar", "ParamSpec"):
        return True
    call = node.value if isinstance(node, ast.Expr) else node
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and name_of(call.func.value) in LOGGERS


def _names(function: Function) -> frozenset[str]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    stored = {each.id for each in ast.walk(function) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return frozenset(stored | {each.arg for each in arguments})


def _join(outer: str, name: str) -> str:
    return f"{outer}.{name}" if outer else name
