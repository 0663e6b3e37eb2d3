"""A source tree, with at most one known bad change applied, becomes a content-addressed image in ECR.

Owns the tree, the layer and the push; knows nothing of stacks. Needs no Docker: everything goes through the ECR API,
so that the same code serves AWS and the local AWS.
"""

from kit.build.changes import known_changes, validate_change
from kit.build.image import Image, build_image

__all__ = ["Image", "build_image", "known_changes", "validate_change"]
