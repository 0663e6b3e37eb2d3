"""Hold a checked definition as values: the machine, its states and the machines inside of Parallel and Map."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.local.stepfunctions.language.json_values import parse_json

JSONPATH, JSONATA = "JSONPath", "JSONata"
INLINE, DISTRIBUTED = "INLINE", "DISTRIBUTED"

# Types with Retry and Catch.
RETRIED_TYPES = frozenset({"Task", "Parallel", "Map"})

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state. `fields` are its fields as written; `inner` are the machines of a Parallel or Map."""

    name: str
    type: str
    language: str
    fields: Fields
    inner: tuple[Machine, ...] = ()

    @property
    def is_jsonata(self) -> bool:
        """Whether the state's queries are written in JSONata."""
        return self.language == JSONATA

    @property
    def processor(self) -> Fields:
        """Return a Map's processor as written."""
        return self.fields.get("ItemProcessor") or self.fields.get("Iterator") or {}

    @property
    def is_distributed(self) -> bool:
        """Whether a Map runs its items as child executions."""
        return (self.processor.get("ProcessorConfig") or {}).get("Mode") == DISTRIBUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine or the inside of a branch, a processor or an iterator."""

    start_at: str
    states: Mapping[str, State]
    timeout_s: int | None = None
    fields: Fields = field(default_factory=dict)


def load(definition: Fields, language: str = JSONPATH) -> Machine:
    """Return the machine of a definition that was checked."""
    language = definition.get("QueryLanguage") or language
    states = {name: _state(name, fields, language) for name, fields in definition["States"].items()}
    timeout_s = definition.get("TimeoutSeconds")
    return Machine(start_at=definition["StartAt"], states=states, timeout_s=timeout_s, fields=definition)


def _state(name: str, fields: Fields, language: str) -> State:
    own = fields.get("QueryLanguage") or language
    # The language of a Map or a Parallel is not that of its inner states, which follow the machine's.
    inner = tuple(load(each, language) for each in inner_definitions(fields))
    return State(name=name, type=fields["Type"], language=own, fields=fields, inner=inner)


def inner_definitions(fields: Fields) -> list[Fields]:
    """Return the definitions inside of a state."""
    found = [*(fields.get("Branches") or ()), fields.get("ItemProcessor"), fields.get("Iterator")]
    return [each for each in found if isinstance(each, Mapping)]


@functools.lru_cache(maxsize=256)
def cached(text: str) -> Machine:
    """Return the machine of a definition's text."""
    return load(parse_json(text))
