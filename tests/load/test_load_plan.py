"""Test that the plan is read strictly and that errors name the field, the value and the limit."""

import json

import pytest

from kit.errors import UsageError
from kit.load import LoadPlan

GOOD = {"api_url": "http://127.0.0.1:8080", "markets": ["ACME", "BOLT"]}


def test_plan_survives_json() -> None:
    """Writing and reading a plan does not change it."""
    plan = LoadPlan(api_url="http://lb.example", markets=("ACME",), rate_per_s=12.5, seed=9)
    assert LoadPlan.from_json(plan.to_json()) == plan


def test_defaults_are_filled_in() -> None:
    """Only the URL and the markets are required."""
    plan = LoadPlan.from_json(json.dumps(GOOD))
    assert (plan.host, plan.port, plan.stream_url) == ("127.0.0.1", 8080, "ws://127.0.0.1:8080")
    assert LoadPlan(api_url="http://lb.example", markets=("A",)).port == 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 5}, "unknown field 'rate'"),
        ({"rate_per_s": 0}, "rate_per_s=0 must be a number from 1 to 20000"),
        ({"rate_per_s": "50"}, "rate_per_s='50' must be a number"),
        ({"rate_per_s": float("nan")}, "rate_per_s=nan must be a number from"),
        ({"clients": 2.5}, "clients=2.5 must be a whole number"),
        ({"clients": True}, "clients=True must be a whole number"),
        ({"resubmit_early_ratio": 1.2}, "resubmit_early_ratio=1.2 must be a number from 0 to 1"),
        ({"timeout_ms": 1}, "timeout_ms=1 must be a whole number from 10"),
        ({"markets": []}, "markets=() must list"),
        ({"markets": ["ACME", "ACME"]}, "names a symbol twice"),
        ({"markets": ["acme/../x"]}, "'acme/../x'"),
        ({"markets": "ACME"}, "markets='ACME' must list"),
        ({"api_url": "https://x"}, "api_url='https://x' must be http"),
        ({"api_url": "http://x/path"}, "must carry no path"),
        ({"api_url": "http://x:99999"}, "api_url='http://x:99999'"),
        ({"run_id": "a b"}, "run_id='a b' does not match"),
        ({"trades_ratio": 0.6}, "trades_ratio=0.6 must be a number from 0 to 0.5"),
        ({"cancel_ratio": 0.5, "book_ratio": 0.5}, "cancel_ratio + book_ratio"),
        ({"cancel_ratio": 0.4, "book_ratio": 0.3, "trades_ratio": 0.3}, "book_ratio + trades_ratio = 1.0 > 0.9"),
    ],
)
def test_bad_value_is_named(change: dict[str, object], message: str) -> None:
    """The error names the field, the value and what is accepted."""
    with pytest.raises(UsageError) as caught:
        LoadPlan.from_json(json.dumps(GOOD | change))
    assert message in str(caught.value)


def test_missing_field_is_named() -> None:
    """Fields without a default are required."""
    with pytest.raises(UsageError, match="'markets' is missing"):
        LoadPlan.from_json('{"api_url": "http://x"}')


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_anything_but_a_json_object_is_refused(text: str) -> None:
    """Broken JSON, a list and null are usage errors."""
    with pytest.raises(UsageError):
        LoadPlan.from_json(text)
