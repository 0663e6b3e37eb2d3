"""A source tree, with at most one known bad change applied, becomes a content-addressed image in ECR.

Owns the tree, the layer and the push; knows nothing of stacks. Needs no Docker: everything goes through the ECR API,
so that the same code serves AWS and the local AWS.
"""

from kit.build.changes import known_changes, validate_change
from kit.build.header import Header, read_header
from kit.build.image import Image, build_image
from kit.build.tree import digest_of

__all__ = ["Header", "Image", "build_image", "digest_of", "known_changes", "read_header", "validate_change"]
