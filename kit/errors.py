"""Define the errors of the kit: one root, and one class for each decision that a caller makes.

A violation that a check finds is a `kit.model.Finding`, never an exception.
"""


class KitError(Exception):
    """Root of every error that the kit raises on purpose. The message names the object, the value and the limit."""


class UsageError(KitError):
    """The caller's arguments are wrong and nothing was started. Exit code 4."""


class CloudError(KitError):
    """The AWS endpoint (local or real) could not be started, reached or used."""


class UnsafeTarget(KitError):
    """A safety guard refused the call: account not allowed, tag missing, no stop condition."""


class DeployFailed(KitError):
    """The stack failed or exceeded its time limit. The message names the first resource that failed."""


class FaultError(KitError):
    """The experiment could not be started, watched or stopped."""


class EvidenceMissing(KitError):
    """Something that the verdict needs was not measured, so the run is INVALID."""


class UnreadableFile(EvidenceMissing):
    """A file is missing, too large, damaged, or not of the expected form."""


class VerdictNotPass(KitError):
    """Raised by a notebook's last cell, after its scraps, for any verdict but PASS: a headless run must not exit 0."""
