"""Where the ends of a hop stand: a value, no behaviour.

Owns the vocabulary in which link rules, the load balancer, the task scheduler and the AWS front say who is
talking to whom. Must not know links, MiniStack or any service.
"""

from dataclasses import dataclass

CLIENT = "client"
ALB = "alb"
TASK = "task"
AWS = "aws"
ADMIN = "admin"
PLACE_KINDS = frozenset({CLIENT, ALB, TASK, AWS, ADMIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One end of a hop.

    `id` is the task id, the load balancer's name, or empty; `service` is the ECS service's name for a task
    and the AWS service (`dynamodb`, `sqs`, …) for `aws`, whose `region` is the one that the call was signed for.
    """

    kind: str
    id: str = ""
    zone: str = ""
    subnet: str = ""
    vpc: str = ""
    service: str = ""
    region: str = ""


# Load clients and browsers come from the internet: no zone, no subnet.
INTERNET = Place(kind=CLIENT)
# The kit and its user: link rules never apply to them.
OPERATOR = Place(kind=ADMIN)
