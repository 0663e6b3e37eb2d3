"""Check the names of load balancers and target groups."""

import re

from kit.local.alb.wire import RequestRefused

NAME_LENGTH_MAX = 32


def check_name(name: str, what: str) -> None:
    """Raise RequestRefused unless AWS accepts the name of a load balancer or target group (`what`)."""
    problem = ""
    if len(name) > NAME_LENGTH_MAX:
        problem = f"cannot be longer than '{NAME_LENGTH_MAX}' characters"
    elif not re.fullmatch(r"[a-zA-Z0-9-]+", name):
        problem = "can only contain characters that are alphanumeric characters and hyphens(-)"
    elif name.startswith("-") or name.endswith("-"):
        problem = "cannot begin or end with '-'"
    elif what == "load balancer" and name.startswith("internal-"):
        problem = "cannot begin with 'internal-'"
    if problem:
        subject = "The load balancer name" if what == "load balancer" else "Target group name"
        raise RequestRefused("ValidationError", f"{subject} '{name}' {problem}")
