"""Test that what cannot be published is logged and harms nobody."""

from __future__ import annotations

import logging

import pytest

from kit.local.publishing import never_raises


@never_raises
def tell(listeners: list[str]) -> None:
    listeners.append("told")
    raise LookupError("no such log group")


def test_a_publication_that_fails_is_logged_with_its_name_by_its_own_module(caplog: pytest.LogCaptureFixture) -> None:
    listeners: list[str] = []
    with caplog.at_level(logging.ERROR):
        tell(listeners)
    assert listeners == ["told"]
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.announcement) == (__name__, "announcement failed", "tell")  # type: ignore[attr-defined]
    assert record.exc_info and "no such log group" in str(record.exc_info[1])
