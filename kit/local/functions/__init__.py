"""Lambda of the local AWS: a function's execution environment is a process with an identity and a place of its own."""

from kit.local.functions.service import Functions

__all__ = ["Functions"]
