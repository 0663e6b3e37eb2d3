"""The golden history, played once, and a copy of it for each test to change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.histories import execution


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return execution.golden()


@pytest.fixture
def tables(golden: dict[str, Any]) -> dict[str, Any]:
    return {name: table.copy() for name, table in golden.items()}
