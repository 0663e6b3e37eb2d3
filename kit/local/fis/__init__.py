"""AWS Fault Injection Service of the local AWS: the control plane, and actions that really act."""

from kit.local.fis.collaborators import Collaborators
from kit.local.fis.service import Fis

__all__ = ["Collaborators", "Fis"]
