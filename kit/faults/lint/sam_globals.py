"""Apply the `Globals` of an AWS SAM template to its functions.

Source: the SAM developer guide, "Globals section": a function's map is merged into the global one, its list is added to
the global one, and any other value of the function replaces the global one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.fis_rules.problems import UNKNOWN


def with_globals(globals_section: Any, functions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the functions by name, each with what `Globals` adds to it."""
    shared = globals_section.get("Function") if isinstance(globals_section, Mapping) else None
    if not isinstance(shared, Mapping):
        return dict(functions)
    return {name: _merged(shared, function) for name, function in functions.items()}


def _merged(shared: Any, own: Any) -> Any:
    if own is UNKNOWN or shared is UNKNOWN:
        return UNKNOWN
    if own is None:
        return shared
    if isinstance(shared, Mapping) and isinstance(own, Mapping):
        return {name: _merged(shared.get(name), own.get(name)) for name in {**shared, **own}}
    if isinstance(shared, list) and isinstance(own, list):
        return [*shared, *own]
    return own
