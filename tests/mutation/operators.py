"""Mutation operators: each yields edits of the source text that an engineer might have pushed.

The first group is the domain's: conditions of writes, identities, prices and quantities, guards, retries and bounds.
The second group is the usual one: comparisons, constants, arithmetic, boolean logic.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.mutation.syntax import Module, Place, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace the characters from `start` to `end` by `new`. `node` is the statement or expression that it changes."""

    start: int
    end: int
    new: str
    node: ast.AST


Operator = Callable[[Module, ast.AST, Place], Iterator[Edit]]
OPERATORS: dict[str, Operator] = {}

# Words of which one may be written for the other.
WORDS = (
    ("price", "qty"), ("BUY", "SELL"), ("maker", "taker"), ("client_id", "order_id"), ("event_id", "order_id"),
    ("bids", "asks"), ("GTC", "IOC"), ("ACCEPTED", "REJECTED"), ("FILLED", "PARTIALLY_FILLED"), ("min", "max"),
    ("bought", "sold"), ("orders", "balances"), ("LIMIT", "MARKET"), ("add", "discard"),
    ("idempotency_key", "order_id"), ("qty", "order_qty"), ("seq", "after_seq"), ("any", "all"),
)  # fmt: skip
CONDITIONS = (
    ("attribute_not_exists", "attribute_exists"), (" = :", " <> :"), (" < :", " <= :"), (" > :", " >= :"),
    (" AND ", " OR "), ("ADD ", "SET "),
)  # fmt: skip
STATUSES = {
    200: 201, 201: 200, 400: 500, 403: 404, 404: 403, 405: 404, 408: 400, 409: 400, 411: 400, 413: 400, 422: 400,
    429: 503, 431: 400, 500: 503, 503: 500,
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="), ast.LtE: ("<", ">"), ast.Gt: (">=", "<="), ast.GtE: (">", "<"), ast.Eq: ("!=",),
    ast.NotEq: ("==",), ast.In: ("not in",), ast.NotIn: ("in",), ast.Is: ("is not",), ast.IsNot: ("is",),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.Div: "*", ast.FloorDiv: "*", ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip
SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.BitOr: "|", ast.BitAnd: "&",
}  # fmt: skip
EMPTY = {"list": "[]", "dict": "{}", "tuple": "()", "frozenset": "frozenset()", "set": "set()", "int": "0", "str": '""'}


def operator(name: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS[name] = function
        return function

    return register


def _whole(module: Module, node: ast.AST, new: str) -> Edit:
    return Edit(start=module.start(node), end=module.end(node), new=new, node=node)


def _without(module: Module, items: list[tuple[int, int]], index: int, node: ast.AST) -> Edit:
    """Drop one of several items that are separated by commas."""
    if index + 1 < len(items):
        return Edit(start=items[index][0], end=items[index + 1][0], new="", node=node)
    start = items[index - 1][1] if index else items[0][0]
    return Edit(start=start, end=items[index][1], new="", node=node)


@operator("drop-entry")
def drop_entry(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Drop an entry of a dict, such as the condition of a write or the deduplication id of a message."""
    if isinstance(node, ast.Dict):
        items = [
            (module.start(key or value), module.end(value)) for key, value in zip(node.keys, node.values, strict=True)
        ]
        for index, key in enumerate(node.keys):
            if isinstance(key, ast.Constant):
                yield _without(module, items, index, key)


@operator("drop-keyword")
def drop_keyword(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Drop a keyword argument, such as a condition, a timeout or a consistent read."""
    if isinstance(node, ast.Call) and node.keywords:
        arguments = sorted([*node.args, *node.keywords], key=module.start)
        items = [(module.start(each), module.end(each)) for each in arguments]
        for index, each in enumerate(arguments):
            if isinstance(each, ast.keyword) and each.arg:
                yield _without(module, items, index, each)


@operator("alter-condition")
def alter_condition(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Alter a condition or an update of DynamoDB."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = module.source(node)
        for old, new in CONDITIONS:
            if old in text:
                yield _whole(module, node, text.replace(old, new, 1))
    if isinstance(node, ast.JoinedStr):
        text = module.source(node)
        if "attribute_not_exists" in text:
            yield _whole(module, node, text.replace("attribute_not_exists", "attribute_exists"))


@operator("narrow-identity")
def narrow_identity(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Leave one part out of an identity that is built from several, as a text or as a tuple."""
    if isinstance(node, ast.JoinedStr) and place.function:
        text = module.source(node)
        for found in re.finditer(r"\{[^{}]+\}", text):
            yield _whole(module, node, text[: found.start()] + text[found.end() :])
    if isinstance(node, ast.Call) and name_of(node.func).endswith(("digest", "content_hash")):
        for index in range(len(node.args)):
            yield _whole(module, node.args[index], '""')


@operator("swap-word")
def swap_word(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Use a similar name: the price for the quantity, the other side, the maker for the taker."""
    name = name_of(node)
    if not name or not isinstance(getattr(node, "ctx", None), ast.Load):
        return
    for pair in WORDS:
        for old, new in (pair, pair[::-1]):
            other = re.sub(rf"(^|_){old}(_|$)", rf"\g<1>{new}\g<2>", name)
            is_known = isinstance(node, ast.Attribute) or other in place.names or name in ("min", "max", "any", "all")
            if other != name and is_known:
                yield Edit(start=module.end(node) - len(name), end=module.end(node), new=other, node=node)


@operator("swap-arguments")
def swap_arguments(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Swap two neighbouring arguments."""
    if isinstance(node, ast.Call) and name_of(node.func) not in ("isinstance", "issubclass", "getattr", "setattr"):
        for left, right in itertools.pairwise(node.args):
            if isinstance(left, ast.Name | ast.Attribute) and isinstance(right, ast.Name | ast.Attribute):
                new = module.source(right) + module.text[module.end(left) : module.start(right)] + module.source(left)
                yield Edit(start=module.start(left), end=module.end(right), new=new, node=left)


@operator("drop-statement")
def drop_statement(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Drop a call, an awaited call, a deletion or an update in place."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
    if place.function and (is_call or isinstance(node, ast.AugAssign | ast.Delete)):
        yield _whole(module, node, "pass")


@operator("drop-guard")
def drop_guard(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Never enter a branch."""
    if isinstance(node, ast.If | ast.IfExp):
        yield _whole(module, node.test, "False")


@operator("drop-raise")
def drop_raise(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Go on where an error was raised."""
    if isinstance(node, ast.Raise):
        yield _whole(module, node, "pass")


@operator("return-early")
def return_early(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Return at once from a function without a result, or an empty result from any other."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = module.source(node.returns) if node.returns else ""
        body = [each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
        if returns == "None" and node.name != "__init__":
            new = f"return\n{module.indent(body[0])}"
            yield Edit(start=module.start(body[0]), end=module.start(body[0]), new=new, node=body[0])
    if isinstance(node, ast.Return) and node.value and place.function and place.function.returns:
        returns = module.source(place.function.returns)
        if returns == "bool":
            yield _whole(module, node.value, f"not ({module.source(node.value)})")
        new = "None" if "None" in returns.split(" | ") else EMPTY.get(returns.partition("[")[0])
        if new and new != module.source(node.value):
            yield _whole(module, node.value, new)


@operator("alter-except")
def alter_except(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Catch more than was meant, or less."""
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        if module.source(node.type) != "Exception":
            yield _whole(module, node.type, "Exception")
        if isinstance(node.type, ast.Tuple):
            for index, each in enumerate(node.type.elts):
                keep = [module.source(other) for at, other in enumerate(node.type.elts) if at != index]
                yield Edit(start=module.start(node.type), end=module.end(node.type),
                           new=keep[0] if len(keep) == 1 else f"({', '.join(keep)})", node=each)  # fmt: skip


@operator("drop-retry")
def drop_retry(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Try once instead of several times, or wait without a bound."""
    if isinstance(node, ast.Call) and name_of(node.func) == "range" and len(node.args) == 1:
        yield _whole(module, node.args[0], "1")
    if isinstance(node, ast.Call) and name_of(node.func) == "timeout" and len(node.args) == 1:
        yield _whole(module, node.args[0], "None")
    if isinstance(node, ast.Continue):
        yield _whole(module, node, "break")
    if isinstance(node, ast.Break):
        yield _whole(module, node, "continue")


@operator("drop-lock")
def drop_lock(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Enter a critical section without its lock."""
    if isinstance(node, ast.With) and len(node.items) == 1 and "lock" in module.source(node.items[0].context_expr):
        end = module.end(node.items[0].context_expr)
        yield Edit(start=module.start(node), end=end, new="if True", node=node.items[0].context_expr)


@operator("reorder")
def reorder(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Swap a statement with the next one, where one of them has an effect and the second needs no name of the first."""
    if not isinstance(node, ast.stmt) or node not in place.siblings or not place.function:
        return
    index = place.siblings.index(node)
    simple = ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete
    if index + 1 == len(place.siblings) or not isinstance(node, simple):
        return
    after = place.siblings[index + 1]
    if not isinstance(after, simple) or isinstance(getattr(node, "value", None), ast.Constant):
        return
    stored = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    loaded = {each.id for each in ast.walk(after) if isinstance(each, ast.Name)}
    has_effect = any(isinstance(each, ast.Expr | ast.AugAssign | ast.Delete) for each in (node, after))
    if has_effect and not stored & loaded:
        between = module.text[module.end(node) : module.start(after)]
        new = module.source(after) + between + module.source(node)
        yield Edit(start=module.start(node), end=module.end(after), new=new, node=node)


@operator("drop-order")
def drop_order(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Leave out an ordering."""
    if isinstance(node, ast.Call) and name_of(node.func) in ("sorted", "reversed") and isinstance(node.func, ast.Name):
        yield _whole(module, node.func, "iter" if node.func.id == "reversed" else "list")
    if isinstance(node, ast.Attribute) and node.attr == "opposite" and isinstance(node.ctx, ast.Load):
        yield _whole(module, node, module.source(node.value))


@operator("alter-status")
def alter_status(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Answer with another status."""
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value in STATUSES:
        yield _whole(module, node, str(STATUSES[node.value]))


@operator("alter-comparison")
def alter_comparison(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Move a boundary or turn a comparison round."""
    if isinstance(node, ast.Compare):
        for index, (kind, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            left = node.left if index == 0 else node.comparators[index - 1]
            for new in COMPARISONS.get(type(kind), ()):
                yield Edit(start=module.end(left), end=module.start(right), new=f" {new} ", node=node)


@operator("alter-number")
def alter_number(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Take one more or one less; double or halve what is no whole number."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield _whole(module, node, str(node.value + 1))
        if node.value:
            yield _whole(module, node, str(node.value - 1))
    if isinstance(node, ast.Constant) and type(node.value) is float:
        yield _whole(module, node, repr(node.value * 2))
        yield _whole(module, node, repr(node.value / 2))


@operator("alter-arithmetic")
def alter_arithmetic(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Add for subtract, and the like; drop a minus."""
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        between = module.text[module.end(node.left) : module.start(node.right)]
        new = between.replace(SYMBOLS[type(node.op)], ARITHMETIC[type(node.op)], 1)
        yield Edit(start=module.end(node.left), end=module.start(node.right), new=new, node=node)
    if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        between = module.text[module.end(node.target) : module.start(node.value)]
        new = between.replace(SYMBOLS[type(node.op)], ARITHMETIC[type(node.op)], 1)
        yield Edit(start=module.end(node.target), end=module.start(node.value), new=new, node=node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield _whole(module, node, module.source(node.operand))


@operator("alter-logic")
def alter_logic(module: Module, node: ast.AST, place: Place) -> Iterator[Edit]:
    """Leave out one condition of several, or a negation."""
    if isinstance(node, ast.BoolOp):
        for index in range(len(node.values)):
            kept = [module.source(each) for at, each in enumerate(node.values) if at != index]
            word = " and " if isinstance(node.op, ast.And) else " or "
            yield _whole(module, node, f"({word.join(kept)})" if len(kept) > 1 else kept[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _whole(module, node, f"({module.source(node.operand)})")
