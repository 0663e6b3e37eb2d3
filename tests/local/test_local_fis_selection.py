"""Test which targets are chosen: properties of selection modes and filters."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.fis_rules.selection_mode import SelectionMode
from kit.local.fis.targets import choose, passes

names = st.lists(st.text(min_size=1, max_size=5), max_size=30, unique=True)
seeds = st.integers(0, 2**32)


@given(names, st.integers(1, 100), seeds)
def test_percent_rounds_down(resources: list[str], percent: int, seed: int) -> None:
    """PERCENT(n) chooses floor(n% of the matching targets), each at most once, in the given order."""
    chosen = choose(resources, SelectionMode(kind="PERCENT", amount=percent), random.Random(seed))
    assert len(chosen) == len(resources) * percent // 100
    assert chosen == [each for each in resources if each in set(chosen)]


@given(names, st.integers(1, 40), seeds)
def test_count_hits_that_many_or_all(resources: list[str], count: int, seed: int) -> None:
    """COUNT(n) of fewer than n resources hits all of them."""
    chosen = choose(resources, SelectionMode(kind="COUNT", amount=count), random.Random(seed))
    assert len(chosen) == min(count, len(resources))
    assert set(chosen) <= set(resources)


@given(names, seeds)
def test_the_same_seed_chooses_the_same(resources: list[str], seed: int) -> None:
    """A run can be reproduced."""
    mode = SelectionMode(kind="PERCENT", amount=50)
    assert choose(resources, mode, random.Random(seed)) == choose(resources, mode, random.Random(seed))


def test_every_resource_can_be_hit() -> None:
    """The choice is random, not the first ones."""
    one = SelectionMode(kind="COUNT", amount=1)
    hit = {each for seed in range(50) for each in choose("abcd", one, random.Random(seed))}
    assert hit == set("abcd")


DESCRIBED = {
    "availabilityZone": "us-east-1a",
    "State": {"Name": "running", "Code": 16},
    "SecurityGroups": [{"GroupId": "sg-1"}, {"GroupId": "sg-2"}],
    "containers": [{"name": "api", "exitCode": None}],
    "MapPublicIpOnLaunch": False,
}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"AvailabilityZone": ["us-east-1a"]}, True),
        ({"AvailabilityZone": ["us-east-1b", "us-east-1a"]}, True),
        ({"AvailabilityZone": ["us-east-1b"]}, False),
        ({"State.Name": ["running"], "State.Code": ["16"]}, True),
        ({"State.Name": ["running"], "AvailabilityZone": ["us-east-1b"]}, False),
        ({"SecurityGroups.GroupId": ["sg-2"]}, True),
        ({"SecurityGroups.GroupId": ["sg-3"]}, False),
        ({"Containers.Name": ["api"]}, True),
        ({"MapPublicIpOnLaunch": ["false"]}, True),
        ({"Nothing.Here": ["x"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: bool) -> None:
    """All filters must match; one of a filter's values is enough, as is one member of a list. Paths are PascalCase."""
    assert passes(DESCRIBED, [{"path": path, "values": values} for path, values in filters.items()]) is expected


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abcd"), min_size=1))
def test_a_multi_valued_path_matches_on_any(present: list[str], wanted: list[str]) -> None:
    """The filter matches if the two sets of values have a common member."""
    described = {"Items": [{"Id": each} for each in present]}
    assert passes(described, [{"path": "Items.Id", "values": wanted}]) is bool(set(present) & set(wanted))
