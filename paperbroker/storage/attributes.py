"""Convert records of strings and integers to DynamoDB's typed attributes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def attribute(value: str | int) -> dict[str, str]:
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def attributes(record: Mapping[str, str | int]) -> dict[str, dict[str, str]]:
    return {name: attribute(value) for name, value in record.items()}


def record(item: Mapping[str, Mapping[str, Any]]) -> dict[str, str | int]:
    return {name: int(value["N"]) if "N" in value else value["S"] for name, value in item.items()}
