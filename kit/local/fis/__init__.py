"""AWS Fault Injection Service of the local AWS: the control plane, and actions that act."""

from kit.local.fis.service import Fis

__all__ = ["Fis"]
