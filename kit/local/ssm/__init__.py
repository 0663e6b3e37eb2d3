"""AWS Systems Manager of the local AWS: automation documents, a runner that runs them, and OpsItems."""

from kit.local.ssm.service import Ssm

__all__ = ["Ssm"]
