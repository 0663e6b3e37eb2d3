"""Parse YAML within bounds. The parser would recurse once per level, so the levels are counted before it builds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from kit.errors import UnreadableFile
from kit.files.bounds import DEPTH_MAX, VALUES_MAX, RepeatedMembers, check_bounds

EVENTS_MAX = 500_000
# A member of an object is up to four events: its name, its value, and the beginning and end of that.
EVENTS_A_VALUE = 4
# The parser in C is ten times as fast; PyYAML has it wherever libyaml is.
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(
    text: str, name: str, loader: Any = SafeLoader, values_max: int = VALUES_MAX
) -> tuple[list[Any], list[tuple[str, str]]]:
    """Parse every document of a YAML text; return them and their repeated members, as `parse_json` does.

    `loader`: a subclass of SafeLoader. Raises UnreadableFile that says what is wrong with the file `name`.
    """
    try:
        _check_events(text, name, min(EVENTS_MAX, EVENTS_A_VALUE * values_max))
        documents = list(yaml.load_all(text, Loader=_noticing_repeats(loader)))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableFile(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    return documents, [one for document in documents for one in check_bounds(document, name, values_max)]


def _check_events(text: str, name: str, events_max: int) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise UnreadableFile(f"{name} is nested more than {DEPTH_MAX} levels deep")
        if count > events_max:
            raise UnreadableFile(f"{name} holds more than {events_max // EVENTS_A_VALUE} values")


def _noticing_repeats(loader: Any) -> Any:
    class Noticing(loader):
        """Build a mapping whose names repeat as RepeatedMembers."""

    def construct(self: Any, node: yaml.MappingNode) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        names = _repeated(keys)
        made = RepeatedMembers({}, names) if names else {}
        yield made
        made.update(self.construct_mapping(node))

    Noticing.add_constructor("tag:yaml.org,2002:map", construct)
    return Noticing


def _repeated(keys: list[Any]) -> tuple[Any, ...]:
    try:
        return tuple(key for key, count in Counter(keys).items() if count > 1)
    except TypeError:
        return ()  # a list or an object as a name, which construct_mapping refuses
