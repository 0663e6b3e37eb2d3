"""Hold the services of the local AWS on which FIS acts."""

from dataclasses import dataclass
from pathlib import Path

from kit.local.alb import LoadBalancers
from kit.local.cloudwatch import CloudWatch
from kit.local.dynamodb import DynamoDb
from kit.local.ecs import Ecs
from kit.local.links import Links
from kit.local.ssm import Ssm


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """Services that actions change, and facts about this local AWS that actions need.

    `endpoint` is the URL that tasks call, `seed` makes random choices repeatable, `state_dir` outlives the process, and
    `kept_dir` outlives the tasks, tables and other resources of this local AWS, too.
    """

    links: Links
    ecs: Ecs
    alb: LoadBalancers
    dynamodb: DynamoDb
    ssm: Ssm
    alarms: CloudWatch
    endpoint: str
    seed: int
    state_dir: Path
    kept_dir: Path
