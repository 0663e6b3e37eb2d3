"""List the fields of machines and states by type and query language, with the types of their values."""

from __future__ import annotations

from collections.abc import Mapping

TYPES = ("Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map")
# Types whose states have Next or End.
CONTINUED = frozenset({"Pass", "Task", "Wait", "Parallel", "Map"})

MACHINE = frozenset({"Comment", "StartAt", "States", "QueryLanguage", "TimeoutSeconds", "Version"})
BRANCH = frozenset({"Comment", "StartAt", "States", "QueryLanguage"})
PROCESSOR = BRANCH | {"ProcessorConfig"}

_ANY = frozenset({"Type", "Comment", "QueryLanguage"})
_PATHS = frozenset({"InputPath", "OutputPath"})
_NEXT = frozenset({"Next", "End"})
_ERRORS = frozenset({"Retry", "Catch"})
_RESULT = frozenset({"ResultSelector", "ResultPath"})

# Fields of both languages.
_COMMON: Mapping[str, frozenset[str]] = {
    "Pass": _NEXT | {"Assign"},
    "Task": _NEXT | _ERRORS | {"Assign", "Resource", "TimeoutSeconds", "HeartbeatSeconds", "Credentials"},
    "Choice": frozenset({"Assign", "Choices", "Default"}),
    "Wait": _NEXT | {"Assign", "Seconds", "Timestamp"},
    "Succeed": frozenset(),
    "Fail": frozenset({"Error", "Cause"}),
    "Parallel": _NEXT | _ERRORS | {"Assign", "Branches"},
    "Map": _NEXT
    | _ERRORS
    | {"Assign", "ItemProcessor", "Iterator", "ItemReader", "ItemSelector", "ItemBatcher", "ResultWriter", "Label"}
    | {"MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage"},
}
_JSONPATH_ONLY: Mapping[str, frozenset[str]] = {
    "Pass": _PATHS | {"Result", "ResultPath", "Parameters"},
    "Task": _PATHS | _RESULT | {"Parameters", "TimeoutSecondsPath", "HeartbeatSecondsPath"},
    "Choice": _PATHS,
    "Wait": _PATHS | {"SecondsPath", "TimestampPath"},
    "Succeed": _PATHS,
    "Fail": frozenset({"ErrorPath", "CausePath"}),
    "Parallel": _PATHS | _RESULT | {"Parameters"},
    "Map": _PATHS
    | _RESULT
    | {"Parameters", "ItemsPath", "MaxConcurrencyPath", "ToleratedFailureCountPath", "ToleratedFailurePercentagePath"},
}
_JSONATA_ONLY: Mapping[str, frozenset[str]] = {
    "Pass": frozenset({"Output"}),
    "Task": frozenset({"Arguments", "Output"}),
    "Choice": frozenset({"Output"}),
    "Wait": frozenset({"Output"}),
    "Succeed": frozenset({"Output"}),
    "Fail": frozenset(),
    "Parallel": frozenset({"Arguments", "Output"}),
    "Map": frozenset({"Items", "Output"}),
}

# Pairs of which a state may have only one.
EXCLUSIVE: tuple[tuple[str, ...], ...] = (
    ("Next", "End"),
    ("TimeoutSeconds", "TimeoutSecondsPath"),
    ("HeartbeatSeconds", "HeartbeatSecondsPath"),
    ("MaxConcurrency", "MaxConcurrencyPath"),
    ("ToleratedFailureCount", "ToleratedFailureCountPath"),
    ("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
    ("Error", "ErrorPath"),
    ("Cause", "CausePath"),
    ("ItemProcessor", "Iterator"),
    ("ItemSelector", "Parameters"),
    ("Seconds", "SecondsPath", "Timestamp", "TimestampPath"),
)
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Task": ("Resource",),
    "Choice": ("Choices",),
    "Parallel": ("Branches",),
}
# Fields that hold one path. JSON null is allowed for the first three only.
NULLABLE_PATHS = ("InputPath", "OutputPath", "ResultPath")
PATHS = (
    "ItemsPath", "SecondsPath", "TimestampPath", "TimeoutSecondsPath", "HeartbeatSecondsPath", "MaxConcurrencyPath",
    "ToleratedFailureCountPath", "ToleratedFailurePercentagePath",
)  # fmt: skip
PATHS_OR_CALLS = ("ErrorPath", "CausePath")
TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector", "Assign")
QUERIES = ("Arguments", "Output", "Assign", "ItemSelector")
# Numbers with their bounds. In JSONata states an expression may stand for the number.
NUMBERS: Mapping[str, tuple[int, int]] = {
    "TimeoutSeconds": (1, 99_999_999),
    "HeartbeatSeconds": (1, 99_999_999),
    "Seconds": (0, 99_999_999),
    "MaxConcurrency": (0, 2**31 - 1),
    "ToleratedFailureCount": (0, 2**31 - 1),
    "ToleratedFailurePercentage": (0, 100),
}
STRINGS = ("Comment", "Next", "Default", "Resource", "Label")


def allowed(kind: str, *, is_jsonata: bool) -> frozenset[str]:
    """Return the fields of a state."""
    own = _JSONATA_ONLY if is_jsonata else _JSONPATH_ONLY
    return _ANY | _COMMON[kind] | own[kind]


def is_of_other_language(kind: str, name: str, *, is_jsonata: bool) -> bool:
    """Return whether the field exists in the other query language only."""
    return name in (_JSONPATH_ONLY if is_jsonata else _JSONATA_ONLY)[kind]
