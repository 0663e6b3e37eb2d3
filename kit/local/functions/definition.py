"""Read what an invocation needs to know of a function from MiniStack's records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY_MB, TIMEOUT_S = 128, 3
LATEST = "$LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One version of a function. Two definitions are equal if an environment of one can serve the other."""

    account: str
    region: str
    name: str
    version: str
    handler: str
    runtime: str
    role: str
    memory_mb: int
    timeout_s: float
    variables: tuple[tuple[str, str], ...]
    subnets: tuple[str, ...]
    layers: tuple[str, ...]
    code_digest: str

    @classmethod
    def of(cls, config: Mapping[str, Any], code: bytes) -> Definition:
        """Read MiniStack's configuration of a version."""
        account, region, name, _ = split_arn(config["FunctionArn"])
        variables = (config.get("Environment") or {}).get("Variables") or {}
        layers = (each if isinstance(each, str) else each.get("Arn", "") for each in config.get("Layers") or ())
        return cls(
            account=account,
            region=region,
            name=name,
            version=config.get("Version") or LATEST,
            handler=config.get("Handler") or "index.handler",
            runtime=config.get("Runtime") or "",
            role=config.get("Role") or "",
            memory_mb=int(config.get("MemorySize") or MEMORY_MB),
            timeout_s=float(config.get("Timeout") or TIMEOUT_S),
            variables=tuple(sorted((key, str(value)) for key, value in variables.items())),
            subnets=tuple((config.get("VpcConfig") or {}).get("SubnetIds") or ()),
            layers=tuple(each for each in layers if each),
            code_digest=config.get("CodeSha256") or hashlib.sha256(code).hexdigest(),
        )


def split_arn(arn: str) -> tuple[str, str, str, str]:
    """Split a function's ARN into account, Region, name and qualifier, which may be empty."""
    parts = arn.split(":")
    if len(parts) < 7 or parts[2] != "lambda":
        raise ValueError(f"{arn!r} is not the ARN of a function")
    return parts[4], parts[3], parts[6], ":".join(parts[7:])
