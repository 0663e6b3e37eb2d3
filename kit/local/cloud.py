"""One local cloud: the composed parts, as every part sees the others.

Owns the value only; `kit.local.server` builds it. Must not know how any part works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.local.alb import LoadBalancers
    from kit.local.cloudwatch import CloudWatch
    from kit.local.dynamodb import DynamoDb
    from kit.local.ecr import Registry
    from kit.local.ecs import Ecs
    from kit.local.fis import Fis
    from kit.local.links import Links
    from kit.local.ssm import Ssm

# MiniStack's own default; an access key of twelve digits would select another account, ours never are.
ACCOUNT_ID = "000000000000"


@dataclass(slots=True, kw_only=True)
class Cloud:
    """The parts of one running local AWS. All of them live on one event loop; none may block it."""

    state_dir: Path
    region: str
    account_id: str
    endpoint: str
    seed: int
    links: Links
    dynamodb: DynamoDb
    alb: LoadBalancers
    ecs: Ecs
    ecr: Registry
    alarms: CloudWatch
    ssm: Ssm
    fis: Fis
