"""The treatment of missing data, row by row of the tables in CloudWatch's user guide."""

import pytest

from kit.local.cloudwatch.alarm_state import state_of_datapoints

RETAIN = "RETAIN"
OK = "OK"
ALARM = "ALARM"
NO_DATA = "INSUFFICIENT_DATA"

# datapoints (oldest first), N, M, then the state under missing, ignore, breaching, notBreaching.
TABLES = [
    ("0-X-X", 3, 3, OK, OK, OK, OK),
    ("0----", 3, 3, OK, OK, OK, OK),
    ("-----", 3, 3, NO_DATA, RETAIN, ALARM, OK),
    ("0XX-X", 3, 3, ALARM, ALARM, ALARM, ALARM),
    ("--X--", 3, 3, ALARM, RETAIN, ALARM, OK),
    ("----X", 3, 3, RETAIN, RETAIN, ALARM, OK),
    ("0-X-X", 3, 2, ALARM, ALARM, ALARM, ALARM),
    ("00X0X", 3, 2, ALARM, ALARM, ALARM, ALARM),
    ("0-X--", 3, 2, OK, OK, ALARM, OK),
    ("----0", 3, 2, OK, OK, ALARM, OK),
    ("---X-", 3, 2, ALARM, RETAIN, ALARM, OK),
]
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
POINT = {"0": False, "X": True, "-": None}


@pytest.mark.parametrize("row", TABLES, ids=lambda row: f"{row[0]} {row[2]} of {row[1]}")
def test_a_row_of_the_published_tables(row: tuple) -> None:
    """Every row of both tables, for each treatment."""
    text, periods, to_alarm, *expected = row
    answers = [
        state_of_datapoints(
            [POINT[each] for each in text], periods=periods, to_alarm=to_alarm, treat_missing=treat, state=RETAIN
        )
        for treat in TREATMENTS
    ]
    assert answers == expected


def test_only_the_newest_datapoints_count_when_enough_are_real() -> None:
    """A breach that is older than N real datapoints does not count."""
    state = state_of_datapoints([True, True, False], periods=1, to_alarm=1, treat_missing="missing", state=ALARM)
    assert state == OK
