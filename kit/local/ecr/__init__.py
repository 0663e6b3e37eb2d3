"""Serve ECR: store layers, check their digests, and unpack images into root file systems."""

from kit.local.ecr.layers import ImageUnusable
from kit.local.ecr.service import Registry

__all__ = ["ImageUnusable", "Registry"]
