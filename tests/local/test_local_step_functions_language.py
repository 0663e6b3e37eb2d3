"""JSONPath, intrinsic functions, JSONata and choice rules, as AWS evaluates them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from kit.local.stepfunctions.language import choices, intrinsics, jsonata_queries, jsonpath
from kit.local.stepfunctions.language.intrinsic_functions import FunctionFailed
from kit.local.stepfunctions.language.json_values import java_text, same_json
from kit.local.stepfunctions.language.scopes import Scope

BOOKS = {
    "books": [{"t": "A", "p": 8, "tags": ["x"]}, {"t": "B", "p": 22.5, "isbn": "1"}],
    "it's": {"a.b": 1},
    "n": None,
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("$", BOOKS),
        ("$.books[0].t", "A"),
        ("$.books[-1].t", "B"),
        ("$['books'][1]['t']", "B"),
        ("$.books[0,1].t", ["A", "B"]),
        ("$.books[:1].t", ["A"]),
        ("$.books[*].p", [8, 22.5]),
        ("$..t", ["A", "B"]),
        ("$.books[0]['t','p']", [{"t": "A", "p": 8}]),
        (r"$['it\'s']['a.b']", 1),
        ("$.n", None),
        ("$.books.length()", 2),
        ("$.books[*].p.max()", 22.5),
        ("$.books[?(@.isbn)].t", ["B"]),
        ("$.books[?(!(@.isbn))].t", ["A"]),
        ("$.books[?(@.p < 10 || @.t == 'B')].t", ["A", "B"]),
        ("$.books[?(@.p > 10 && @.t =~ /b/i)].t", ["B"]),
        ("$.books[?(@.t in ['B', 'C'])].p", [22.5]),
        ("$.books[?(@.p == $.books[0].p)].t", ["A"]),
        ("$.books[?(@.tags contains 'x')].t", ["A"]),
        ("$.books[?(@.p == '8')].t", []),
        ("$.gone[*].x", []),
    ],
)
def test_a_path_selects(path: str, wanted: Any) -> None:
    assert jsonpath.parse(path).read(BOOKS) == wanted


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.gone", "No results for path: $['gone']"),
        ("$.gone.below", "Missing property in path $['gone']"),
        ("$.books[9]", "No results for path: $['books'][9]"),
        ("$.books.t", "No results for path: $['books']['t']"),
    ],
)
def test_a_definite_path_that_leads_nowhere_fails(path: str, message: str) -> None:
    with pytest.raises(jsonpath.PathNotFound) as raised:
        jsonpath.parse(path).read(BOOKS)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "path", ["", "books", "$.", "$x", "$.a[", "$.a[x]", "$.a[?(@.b ==)]", "$.a[?@.b]", "$.a..", "$.a.f()"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(jsonpath.PathInvalid):
        jsonpath.parse(path)


VALUES = Scope(
    input={"l": [3, 1, 3], "o": {"a": 1}, "t": "a,b;;c", "n": 2}, context={"Id": "e"}, variables={"v": {"k": 5}}
)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("States.Array(1, 'a', true, null, $.n, $$.Id, $v.k)", [1, "a", True, None, 2, "e", 5]),
        ("States.ArrayPartition($.l, 2)", [[3, 1], [3]]),
        ("States.ArrayContains($.l, 1)", True),
        ("States.ArrayContains(States.Array($.o), $.o)", True),
        ("States.ArrayContains(States.Array(1), true)", False),
        ("States.ArrayRange(5, 1, -2)", [5, 3, 1]),
        ("States.ArrayGetItem($.l, 1)", 1),
        ("States.ArrayLength($.l)", 3),
        ("States.ArrayUnique($.l)", [3, 1]),
        ("States.Base64Encode('é')", "w6k="),
        ("States.Base64Decode('w6k=')", "é"),
        ("States.Hash('x', 'MD5')", "9dd4e461268c8034f5c8564e155c67a6"),
        ("States.JsonMerge($.o, States.StringToJson('{\"b\": 2}'), false)", {"a": 1, "b": 2}),
        ("States.JsonToString($.o)", '{"a":1}'),
        ("States.MathAdd($.n, -5)", -3),
        ("States.MathAdd(1.5, 1.4)", 3),
        ("States.StringSplit($.t, ',;')", ["a", "b", "c"]),
        (r"States.Format('\{{}\} it\'s {} {}', $.n, $.o, $.l)", "{2} it's {a=1} [3, 1, 3]"),
        ("States.ArrayLength($.l[?(@ > 1)])", 2),
    ],
)
def test_an_intrinsic_function_computes(call: str, wanted: Any) -> None:
    assert same_json(VALUES.value(call, "f.$"), wanted)


@pytest.mark.parametrize(
    "call",
    [
        "States.ArrayPartition($.l, 0)", "States.ArrayPartition($.n, 1)", "States.ArrayRange(0, 2000, 1)",
        "States.ArrayRange(0, 1, 0)", "States.ArrayGetItem($.l, 3)", "States.Base64Decode('?')",
        "States.Hash('x', 'CRC')", "States.JsonMerge($.o, $.o, true)", "States.StringToJson('{')",
        "States.MathAdd(2147483647, 1)", "States.MathAdd('1', 1)", "States.MathRandom(2, 2)",
        "States.Format('{} {}', 1)", "States.StringSplit($.n, ',')",
    ],
)  # fmt: skip
def test_an_intrinsic_function_refuses_its_arguments(call: str) -> None:
    with pytest.raises(FunctionFailed):
        intrinsics.evaluate(intrinsics.parse(call), VALUES.read)


@pytest.mark.parametrize(
    "call",
    ["States.Nothing()", "States.ArrayLength()", "States.UUID(1)", "States.Array(1", "States.Array(a)",
     "States.Array('a)", "States.Array($.)", "States.Array(1) 2", "Array(1)", r"States.Array('\n')"],
)  # fmt: skip
def test_what_is_no_call_is_refused(call: str) -> None:
    with pytest.raises((intrinsics.IntrinsicInvalid, jsonpath.PathInvalid)):
        intrinsics.parse(call)


def test_a_seed_gives_the_same_number() -> None:
    drawn = {VALUES.value("States.MathRandom(0, 1000000, 7)", "f.$") for _ in range(3)}
    assert len(drawn) == 1
    assert 0 <= drawn.pop() < 1_000_000


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("$states.input.l[$ > 1]", [3, 3]),
        ("$sum($states.input.l) / 2", 3.5),
        ("$v.k", 5),
        ("$states.context.Id", "e"),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$range(0, 5, 2)", [0, 2, 4]),
        ("$range(1, 9, 9)", 1),
        ("$hash('x', 'SHA-256')", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("$parse('{\"a\": null}')", {"a": None}),
        ("$random(3) = $random(3)", True),
        ("$length($uuid())", 36),
        ("null", None),
        ("$exists($gone)", False),
    ],
)
def test_a_jsonata_expression_evaluates(query: str, wanted: Any) -> None:
    assert VALUES.evaluate(f"{{% {query} %}}", "Output") == wanted


def test_an_expression_may_recurse_deeper_than_the_rest_of_the_process() -> None:
    before = sys.getrecursionlimit()
    query = "($f := function($n){$n = 0 ? 0 : 1 + $f($n - 1)}; $f(60))"
    assert jsonata_queries.evaluate(query, {}) == 60
    with pytest.raises(jsonata_queries.QueryThrew, match="D1011"):
        jsonata_queries.evaluate(query.replace("60", "5000"), {})
    assert sys.getrecursionlimit() == before


def test_a_null_in_a_variable_is_not_undefined() -> None:
    scope = Scope(input={}, context={}, variables={"v": None})
    assert scope.evaluate({"v": "{% $v %}"}, "Output") == {"v": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [("$eval('1')", "T1006"), ("$randomSeeded(1)", "T1006"), ("1 + 'a'", "T2002"), ("$partition([1], 0)", "chunk size"),
     ("$hash('x', 'CRC')", "algorithm"), ("$parse('{')", "not JSON"), ("($f := function(){$f()}; $f())", "D1012"),
     ("function($x){$x}", "function")],
)  # fmt: skip
def test_a_jsonata_error_keeps_its_code(query: str, code: str) -> None:
    with pytest.raises(jsonata_queries.QueryThrew, match=code):
        jsonata_queries.evaluate(query, {})


@pytest.mark.parametrize("query", ["1 +", "$f(", "{", "'a"])
def test_what_is_no_jsonata_is_refused(query: str) -> None:
    with pytest.raises(jsonata_queries.QueryInvalid, match=r"^S0"):
        jsonata_queries.parse(query)


@pytest.mark.parametrize(
    ("rule", "value", "wanted"),
    [
        ({"StringEquals": "a"}, "a", True),
        ({"StringEquals": "1"}, 1, False),
        ({"StringLessThan": "b"}, "a", True),
        ({"StringGreaterThanEqualsPath": "$.other"}, "b", True),
        ({"StringMatches": "log-*.txt"}, "log-1.txt", True),
        ({"StringMatches": r"a\*"}, "ab", False),
        ({"StringMatches": r"a\*"}, "a*", True),
        ({"NumericEquals": 1}, 1.0, True),
        ({"NumericEquals": 1}, True, False),
        ({"NumericLessThanEquals": 0}, -1, True),
        ({"NumericGreaterThan": 1}, "2", False),
        ({"BooleanEquals": True}, True, True),
        ({"BooleanEquals": True}, "true", False),
        ({"TimestampEquals": "2024-01-01T00:00:00Z"}, "2024-01-01T01:00:00+01:00", True),
        ({"TimestampLessThan": "2024-01-01T00:00:00Z"}, "2023-12-31T23:59:59.999Z", True),
        ({"TimestampLessThan": "2024-01-01T00:00:00Z"}, "yesterday", False),
        ({"IsNull": True}, None, True),
        ({"IsNull": False}, 0, True),
        ({"IsNumeric": True}, True, False),
        ({"IsString": True}, "", True),
        ({"IsBoolean": False}, "x", True),
        ({"IsTimestamp": True}, "2024-01-01T00:00:00Z", True),
        ({"IsTimestamp": True}, "2024-01-01 00:00:00Z", False),
        ({"IsPresent": True}, None, True),
    ],
)
def test_a_choice_rule_compares(rule: dict[str, Any], value: Any, wanted: bool) -> None:
    scope = Scope(input={"v": value, "other": "a"}, context={})
    assert choices.holds({"Variable": "$.v", **rule}, scope) is wanted
    assert choices.holds({"Not": {"Variable": "$.v", **rule}}, scope) is not wanted


def test_a_missing_variable_is_only_asked_for_by_is_present() -> None:
    scope = Scope(input={}, context={})
    assert choices.holds({"Variable": "$.v", "IsPresent": False}, scope)
    with pytest.raises(Exception, match="references an invalid value"):
        choices.holds({"Variable": "$.v", "IsNull": True}, scope)


def test_rules_are_combined() -> None:
    scope = Scope(input=5, context={})
    big, small = {"Variable": "$", "NumericGreaterThan": 3}, {"Variable": "$", "NumericLessThan": 4}
    assert not choices.holds({"And": [big, small]}, scope)
    assert choices.holds({"Or": [small, {"Not": {"And": [small, big]}}]}, scope)


def test_java_shows_nested_values_in_its_own_way() -> None:
    assert java_text({"a": [1, "b", {"c": None}], "d": True}) == "{a=[1, b, {c=null}], d=true}"
