"""Name the properties that may be ignored, because they change nothing that one can see here."""

from __future__ import annotations

from typing import Any

ANY = None
# The property → the values that may be ignored, or ANY.
HARMLESS: dict[tuple[str, str], tuple[Any, ...] | None] = {
    # AWS encrypts every object so by default, and nobody can see it.
    ("AWS::S3::Bucket", "BucketEncryption"): (
        {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]},
    ),
    # docs/fidelity.md: nothing expires.
    ("AWS::S3::Bucket", "LifecycleConfiguration"): ANY,
    # docs/fidelity.md: FIS faults work without it, and nothing is checked before a fault.
    ("AWS::ECS::TaskDefinition", "EnableFaultInjection"): ANY,
}


def is_harmless(resource_type: str, name: str, value: Any) -> bool:
    """Return whether ignoring this value of the property changes nothing."""
    if value in (None, [], {}, ""):
        return True
    values = HARMLESS.get((resource_type, name), ())
    return values is None or str(value).lower() in [str(each).lower() for each in values]
