"""Find a smallest part of a collection that still shows a violation: Zeller's delta debugging (ddmin), bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

# Calls of `shows` for one violation. Each checks a few orders and not the run.
CALLS_MAX = 200

T = TypeVar("T")


def smallest(things: Sequence[T], shows: Callable[[Sequence[T]], bool], calls_max: int = CALLS_MAX) -> list[T]:
    """Reduce `things` to a part that still `shows` the violation but no longer does if any one is removed.

    The part keeps their order. After `calls_max` calls, return the smallest part found so far. If all things together
    do not show the violation, return all of them.
    """
    kept, calls = list(things), 0

    def still(part: Sequence[T]) -> bool:
        nonlocal calls
        calls += 1
        return calls <= calls_max and shows(part)

    if not still(kept):
        return kept
    parts = min(2, len(kept))
    while parts > 1 and calls < calls_max:
        size = -(-len(kept) // parts)
        chunks = [kept[at : at + size] for at in range(0, len(kept), size)]
        without = [[one for chunk in chunks[:n] + chunks[n + 1 :] for one in chunk] for n in range(len(chunks))]
        # Try single chunks first, because they are the larger step.
        smaller = next((part for part in [*chunks, *without] if part and len(part) < len(kept) and still(part)), None)
        if smaller is not None:
            parts = 2 if smaller in chunks else max(2, parts - 1)
            kept = smaller
            parts = min(parts, len(kept))
        elif parts == len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept
