"""Metric math: the supported subset gives CloudWatch's values, and everything else is refused."""

import pytest

from kit.local.cloudwatch.metric_math import Scope, Value, parse
from kit.local.cloudwatch.metric_queries import Queries, parse_queries
from kit.local.cloudwatch.series import UnsupportedQuery

SERIES: dict[str, Value] = {"m1": {0: 4.0, 10: 6.0, 30: 1.0}, "m2": {0: 2.0, 10: 0.0, 20: 5.0}, "none": {}}
TIMES = (0, 10, 20, 30)


def evaluate(text: str) -> Value:
    scope = Scope(series=SERIES.__getitem__, metric_ids=["m1", "m2"], times=TIMES)
    return parse(text).evaluate(scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m1 + m2", {0: 6.0, 10: 6.0}),
        ("m1 / m2", {0: 2.0}),
        ("100 * m2 / m1", {0: 50.0, 10: 0.0}),
        ("-m1 ^ 2", {0: -16.0, 10: -36.0, 30: -1.0}),
        ("2 + 3 * 4 - 1", 13.0),
        ("(2 + 3) * 4", 20.0),
        ("m1 > 4", {0: 0.0, 10: 1.0, 30: 0.0}),
        ("m1 >= 4 && m2 > 0", {0: 1.0, 10: 0.0}),
        ("m1 > 4 OR m2 > 1", {0: 1.0, 10: 1.0}),
        ("IF(m2 > 0, m1 / m2, 0)", {0: 2.0, 10: 0.0}),
        ("IF(m1 > 4, m1)", {10: 6.0}),
        ("FILL(m2, 0)", {0: 2.0, 10: 0.0, 20: 5.0, 30: 0.0}),
        ("FILL(none, 7)", {0: 7.0, 10: 7.0, 20: 7.0, 30: 7.0}),
        ("FILL(m1, REPEAT)", {0: 4.0, 10: 6.0, 20: 6.0, 30: 1.0}),
        ("FILL(m1, LINEAR)", {0: 4.0, 10: 6.0, 20: 3.5, 30: 1.0}),
        ("SUM([m1, m2])", {0: 6.0, 10: 6.0, 20: 5.0, 30: 1.0}),
        ("MAX(METRICS())", {0: 4.0, 10: 6.0, 20: 5.0, 30: 1.0}),
        ('SUM(METRICS("m2"))', {0: 2.0, 10: 0.0, 20: 5.0}),
        ("m1 / SUM(m1)", {0: 4 / 11, 10: 6 / 11, 30: 1 / 11}),
        ("AVG(m2)", 7 / 3),
        ("SUM([FILL(m1, 0), m2]) * 0 + MIN(m1)", {0: 1.0, 10: 1.0, 20: 1.0, 30: 1.0}),
    ],
)
def test_a_supported_expression_has_cloudwatchs_value(text: str, expected: Value) -> None:
    """Each expression has the same value as in CloudWatch."""
    assert evaluate(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "RATE(m1)",
        "SEARCH('x', 'Sum', 60)",
        "ANOMALY_DETECTION_BAND(m1)",
        "m1 +",
        "m1 m2",
        "m1 % 2",
        "SUM(1)",
        "M1",
    ],
)
def test_an_unsupported_expression_is_refused(text: str) -> None:
    """A wrong value would be worse than a refusal."""
    with pytest.raises(UnsupportedQuery):
        evaluate(text)


def stat(query_id: str, period: int = 10, **more: object) -> dict:
    metric = {"Namespace": "N", "MetricName": "M"}
    return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": period, "Stat": "Sum"}, **more}


@pytest.mark.parametrize(
    ("items", "word"),
    [
        ([{"Id": "e1", "Expression": "e2"}, {"Id": "e2", "Expression": "e1"}], "circle"),
        ([{"Id": "e1", "Expression": "m9"}], "unknown id"),
        ([stat("m1"), stat("m1")], "unique"),
        ([stat("m1"), stat("m2", 60), {"Id": "e1", "Expression": "m1 + m2"}], "mixes periods"),
        ([stat("m1"), {"Id": "e1", "Expression": "SUM(m1)"}], "single number"),
        ([stat("m1", period=7)], "period 7"),
        ([{"Id": "m1"}], "exactly one"),
        ([stat("M1")], "lowercase"),
    ],
)
def test_an_invalid_list_of_queries_is_refused_by_name(items: list[dict], word: str) -> None:
    """Each refusal names what is wrong."""
    with pytest.raises(UnsupportedQuery, match=word):
        parse_queries(items)


def test_an_alarm_needs_exactly_one_returned_series() -> None:
    """Two returned queries, or an array, are refused."""
    for items in (
        [stat("m1"), stat("m2")],
        [stat("m1", ReturnData=False), {"Id": "e1", "Expression": "[m1, m1]"}],
    ):
        with pytest.raises(UnsupportedQuery):
            parse_queries(items).check_for_alarm()
    good: Queries = parse_queries([stat("m1", ReturnData=False), {"Id": "e1", "Expression": "m1 * 2"}])
    assert good.check_for_alarm().id == "e1"
