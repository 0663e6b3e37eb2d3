"""What clients choose freely is parsed within bounds, and every mistake is theirs: InvalidRequest."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from paperbroker.errors import InvalidRequest
from paperbroker.request_content import SEQ_MAX, parse_json, query_identifier, query_integer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 990,
        b'[{"a":' * 500,
        b'{"a":' * 800,
        b'{"a":1}'.decode().encode("utf-16"),
        b'{"a":1}'.decode().encode("utf-16-le"),
        b'{"a":1}'.decode().encode("utf-32-be"),
        b"\xef\xbb\xbf{}",
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"\\ud800":1,"\\ud800":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b"{} {}",
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":' + b"9" * 4400 + b"}",
        b'"' + b"a" * 5000,
        b"\x00",
    ],
)
def test_body_that_is_not_one_strict_json_value_is_refused(body: bytes):
    with pytest.raises(InvalidRequest):
        parse_json(body)


def test_duplicate_field_is_named():
    with pytest.raises(InvalidRequest) as caught:
        parse_json(b'{"qty":1,"price":2,"qty":3}')
    assert caught.value.field == "qty"


def test_plain_object_is_parsed():
    assert parse_json(' {"a": "é", "b": [1, -2.5, null, true]} '.encode()) == {"a": "é", "b": [1, -2.5, None, True]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e1",
        "0x1",
        "1_0",
        "٣",
        "²",
        "501",
        "0" * 16 + "1",
        "00000000000000000500" * 2,
    ],
)
def test_query_integer_is_one_to_sixteen_digits_within_its_range(text: str):
    """Leading digits must not stand for the whole: `limit` once believed the first twenty."""
    with pytest.raises(InvalidRequest) as caught:
        query_integer(QueryParams([("limit", text)]), "limit", 100, 1, 500)
    assert caught.value.field == "limit"


def test_query_integer_of_thousands_of_digits_is_refused():
    for digits in (20, 158, 4400, 100_000):
        with pytest.raises(InvalidRequest):
            query_integer(QueryParams([("after", "0" * 20 + "9" * digits)]), "after", 0, 0, SEQ_MAX)


def test_query_integer_has_a_default_and_inclusive_bounds():
    assert query_integer(QueryParams([]), "after", 7, 0, SEQ_MAX) == 7
    assert query_integer(QueryParams([("after", "0")]), "after", 7, 0, SEQ_MAX) == 0
    assert query_integer(QueryParams([("after", str(SEQ_MAX))]), "after", 7, 0, SEQ_MAX) == SEQ_MAX


def test_parameter_given_twice_is_refused():
    """Two parts of a system could believe different ones."""
    twice = QueryParams([("clientId", "a"), ("clientId", "b"), ("after", "1"), ("after", "1")])
    with pytest.raises(InvalidRequest):
        query_identifier(twice, "clientId")
    with pytest.raises(InvalidRequest):
        query_integer(twice, "after", 0, 0, SEQ_MAX)
