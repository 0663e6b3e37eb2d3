"""The local ECR: layers that are really stored, checked by digest, and unpacked into root file systems."""

from kit.local.ecr.layers import ImageUnusable
from kit.local.ecr.service import Registry

__all__ = ["ImageUnusable", "Registry"]
