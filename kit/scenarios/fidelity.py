"""Read where the local AWS differs from AWS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference in Markdown; `touches` names the parts of AWS that scenarios name in their `touches`."""

    what: str
    local: str
    aws: str
    touches: tuple[str, ...]


@cache
def differences() -> tuple[Difference, ...]:
    """Read all differences from fidelity.yaml. Raises FileNotFoundError if the package lacks it."""
    text = files("kit.scenarios").joinpath("fidelity.yaml").read_text(encoding="utf-8")
    return tuple(Difference(**{**row, "touches": tuple(row["touches"])}) for row in yaml.safe_load(text))
