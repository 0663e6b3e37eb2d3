"""Build a content-addressed image in ECR from a source tree, with at most one known bad change applied.

It needs no Docker, only the ECR API, so that the same code works with AWS and the local AWS.
"""

from kit.build.change_header import ChangeHeader, read_change_header
from kit.build.changes import changed_template, known_changes, validate_change
from kit.build.image import Image, build_image, build_kit_image
from kit.build.source_tree import digest_of

__all__ = [
    "ChangeHeader",
    "Image",
    "build_image",
    "build_kit_image",
    "changed_template",
    "digest_of",
    "known_changes",
    "read_change_header",
    "validate_change",
]
