"""The texts that AWS FIS accepts: durations, selection modes, parameters."""

import pytest

from kit.durations import duration_s
from kit.fis_rules.parameters import expectation
from kit.fis_rules.selection_mode import SelectionMode, parse_mode


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1M", 60),
        ("PT1H30M", 5400),
        ("PT0.5S", 0.5),
        ("PT12H", 43_200),
        ("P0DT5M", 300),
        ("P1D", 86_400),
        ("PT0S", 0),
    ],
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    """ISO 8601."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "PT-5M", "5 minutes", "PT\u0665M", "PT1M\n", "P1W", "PT1.5M"])
def test_other_texts_are_no_durations(text: str) -> None:
    """Also digits of other scripts, and a trailing line break."""
    assert duration_s(text) is None


@pytest.mark.parametrize(
    ("text", "kind", "amount"), [("ALL", "ALL", 0), ("COUNT(3)", "COUNT", 3), ("PERCENT(0100)", "PERCENT", 100)]
)
def test_selection_modes_are_read(text: str, kind: str, amount: int) -> None:
    """The three of AWS."""
    assert parse_mode(text) == SelectionMode(kind=kind, amount=amount)


@pytest.mark.parametrize(
    "text",
    ["", "all", "COUNT(0)", "COUNT(-1)", "PERCENT(0)", "PERCENT(101)", "COUNT(1.5)", "ALL()", "COUNT(\u00b2)",
     f"COUNT({'9' * 5000})"],
)  # fmt: skip
def test_other_texts_are_no_selection_modes(text: str) -> None:
    """Nothing is hit by accident, and no number is too long to refuse."""
    assert parse_mode(text) is None


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("arn", ["arn:aws:s3:::b"], ["", "b"]),
        ("arns", ["arn:a", "arn:a, arn:b"], ["", "arn:a,b", ",".join(["arn:a"] * 6)]),
        ("boolean", ["true", "false", "True"], ["", "yes", "1"]),
        ("count", ["0", "007", "2147483647"], ["", "-1", "1.0", "\u00b2", "2147483648", "9" * 5000]),
        ("decimal", ["0", "99.5", "100"], ["", "1e1", "nan", "100.1", "-1", "\u0665"]),
        ("list", ["a", "use1-az1, use1-az2"], ["", " , "]),
        ("milliseconds", ["0", "600000"], ["600001", "1.5"]),
        ("percent", ["0", "100"], ["101", "50%"]),
        ("port", ["1", "65535"], ["0", "65536"]),
        ("text", ["x", "a b"], ["", " "]),
        ("a|b", ["a", "b"], ["", "c", "a|b"]),
        ("list:a|b", ["a", "b, a"], ["", "c", "a,c"]),
    ],
)
def test_each_kind_accepts_its_texts_and_says_what_it_wants(kind: str, good: list[str], bad: list[str]) -> None:
    """No text raises anything."""
    assert [text for text in good if expectation(kind, text)] == []
    assert [text for text in bad if not expectation(kind, text)] == []
