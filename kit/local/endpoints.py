"""Name the ends of network hops.

Link rules, the load balancer, the task scheduler and the gateway use these values to name the sender and the receiver.
"""

from dataclasses import dataclass

CLIENT = "client"
ALB = "alb"
TASK = "task"
FUNCTION = "function"
AWS = "aws"
ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of a network hop.

    `id` is the task id, the load balancer's or the function's name, or empty. `service` is the ECS service of a task,
    the function's name, or the AWS service (`dynamodb`, `sqs`, …) of kind `aws`. `region` is the region that an AWS
    call was signed for.
    """

    kind: str
    id: str = ""
    zone: str = ""
    subnet: str = ""
    vpc: str = ""
    service: str = ""
    region: str = ""


# Load clients and browsers come from the internet, which has no zone or subnet.
INTERNET = Endpoint(kind=CLIENT)
# The kit and its user. Link rules never apply to them.
OPERATOR = Endpoint(kind=ADMIN)
