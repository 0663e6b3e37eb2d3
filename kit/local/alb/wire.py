"""Name the refusals of the elbv2 API, and the rows of its answers about targets."""

from __future__ import annotations

from kit.errors import KitError
from kit.local.alb.targets import Reason, State

# Id, port, zone, state and reason of a target.
TargetRow = tuple[str, int, str, State, Reason]
NOT_SERVED = "UnsupportedOperation"


class RequestRefused(KitError):
    """A request that AWS would refuse, or that cannot be served here. `code` is AWS's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def not_served(cls, what: str, aws_would: str) -> RequestRefused:
        """Return the refusal of something that AWS has and the local load balancer does not do."""
        return cls(NOT_SERVED, f"{what} is not served here; AWS would {aws_would}")
