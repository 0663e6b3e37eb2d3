"""The specifications of actions, target types and parameters, and their short notation.

A parameter is written `name:kind`, or `name?:kind` where AWS does not require it. `kit.fis_rules.parameters` defines
the kinds. `a|b|c` is one of these choices, `list:a|b|c` a list of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """One parameter of an action."""

    required: bool
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """One action; `targets` maps each slot to its resource type."""

    id: str
    description: str
    targets: Mapping[str, str]
    parameters: Mapping[str, ParameterSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetType:
    """One type of resources. Some cannot be selected by tags."""

    description: str
    parameters: Mapping[str, ParameterSpec]
    supports_tags: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationLimits:
    """What AWS accepts, with the same limits in words."""

    low_s: float
    high_s: float
    words: str

    def __str__(self) -> str:
        return self.words


def parameter_specs(text: str) -> dict[str, ParameterSpec]:
    """Read parameters in the short notation, separated by spaces."""
    specs = {}
    for each in text.split():
        name, _, kind = each.partition(":")
        specs[name.removesuffix("?")] = ParameterSpec(required=not name.endswith("?"), kind=kind)
    return specs
