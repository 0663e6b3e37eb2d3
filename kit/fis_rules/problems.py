"""The values in which rules report: a problem, and the stand-in for a value that only the deployment knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

# More problems of one template are not told.
PROBLEMS_MAX = 100
# Longer names are compared by their beginning: the comparison takes time that grows with the square of the length.
NAME_CHARS_MAX = 200


class Unknown(Enum):
    """A value that a file gives as a function, such as !Ref, or that has already been reported as malformed."""

    VALUE = "unknown"


UNKNOWN: Final = Unknown.VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why AWS FIS refuses a template. An empty `path` means the template itself."""

    rule: str
    path: str
    message: str
    is_quota: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the known name that the author may have meant; `names` must not be empty."""
    choices = {each[:NAME_CHARS_MAX]: each for each in names}
    return choices[difflib.get_close_matches(name[:NAME_CHARS_MAX], list(choices), n=1, cutoff=0.0)[0]]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say what could be written instead of an unknown name."""
    names = list(known)
    return f"the nearest known is {nearest(name, names)}" if names else "it takes none"
