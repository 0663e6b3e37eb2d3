"""Serve Application Load Balancers: MiniStack's control plane with a real data plane.

`service` composes it, `client_connection` and `exchange` carry requests, `target_health` checks targets, and
`ministack` holds the patches.
"""

from kit.local.alb.service import LoadBalancers

__all__ = ["LoadBalancers"]
