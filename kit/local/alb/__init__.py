"""Application load balancers: MiniStack's control plane with a data plane of our own.

Owns everything between a client's socket and a task's. See `service` for the interface, `proxy` for a request's
way, `health` for checks, `control` for the seam to MiniStack.
"""

from kit.local.alb.service import LoadBalancers

__all__ = ["LoadBalancers"]
