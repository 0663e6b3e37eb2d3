"""Test the patches of MiniStack's elbv2 against the pinned MiniStack."""

from typing import Any

import pytest
from ministack.services import alb
from ministack.services.cloudformation import provisioners

from kit.local.alb.ministack import ControlPlane

STORES = ("_lbs", "_listeners", "_rules", "_tgs")
NO_TARGETS: Any = None


@pytest.fixture
def changes():
    """Patch MiniStack. Yields a list that gets an item at every change of a store."""
    seen: list[None] = []
    control = ControlPlane(NO_TARGETS, lambda: seen.append(None))
    control.install()
    yield seen
    control.uninstall()


@pytest.mark.parametrize("store", STORES)
def test_every_change_of_a_store_is_observed(changes: list[None], store: str) -> None:
    getattr(alb, store)["arn:observed"] = {"Protocol": "HTTP"}
    getattr(alb, store).pop("arn:observed")
    assert len(changes) == 2


def test_a_new_load_balancer_gets_a_local_address(changes: list[None]) -> None:
    alb._lbs["arn:new"] = record = {"LoadBalancerName": "new"}
    assert record["DNSName"].startswith("127.0.0.1:")
    del alb._lbs["arn:new"]


def test_uninstall_puts_everything_back() -> None:
    def patched() -> list[Any]:
        group = provisioners._RESOURCE_HANDLERS["AWS::ElasticLoadBalancingV2::TargetGroup"]
        names = [getattr(alb, name) for name in (*STORES, "_lb_xml")]
        return [*names, *alb._ACTION_MAP.values(), *group.values()]

    before = patched()
    control = ControlPlane(NO_TARGETS, lambda: None)
    control.install()
    assert any(ours is not theirs for ours, theirs in zip(patched(), before, strict=True))
    control.uninstall()
    assert all(ours is theirs for ours, theirs in zip(patched(), before, strict=True))
