"""Name the ways in which a request is refused."""

from __future__ import annotations

import reprlib

from kit.errors import KitError

# Kinds of refusal; a service may have a code of its own for each.
INVALID = "invalid"  # a value that violates a constraint of the model
MISSING = "missing"  # a required member is not given
MALFORMED = "malformed"  # a value of another type, or a body that cannot be read
UNKNOWN = "unknown"  # a member that the model does not have
UNSERVED = "unserved"  # a member or an operation that AWS has and the local AWS does not honour

UNSERVED_CODE = "UnsupportedOperation"


class Refused(KitError):
    """A request is refused. `path` grows from the inside to the outside while the error passes the structures."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.path: list[str] = []

    def __str__(self) -> str:
        where = _where(self.path)
        if self.kind == UNSERVED:
            return f"{where} {self.text}" if where else self.text
        if self.kind in (INVALID, MISSING):
            return f"1 validation error detected: {self.text.replace('@@', where)}"
        return f"{where}: {self.text}" if where else self.text


def violated(value: object, constraint: str) -> Refused:
    """Return the refusal of a value, in AWS's own words."""
    shown = reprlib.repr(value)
    return Refused(INVALID, f"Value {shown} at '@@' failed to satisfy constraint: Member must {constraint}")


def missing(name: str) -> Refused:
    """Return the refusal of a request without a required member."""
    refused = Refused(MISSING, "Value null at '@@' failed to satisfy constraint: Member must not be null")
    refused.path = [name]
    return refused


def _where(path: list[str]) -> str:
    return ".".join(path)
