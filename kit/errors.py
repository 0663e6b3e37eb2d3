"""The errors of the kit: one root, one leaf per decision a caller makes.

A violation that a check finds is a `kit.model.Finding`, never an exception.
"""


class KitError(Exception):
    """Root of every error that the kit raises on purpose; the message names object, value and limit."""


class UsageError(KitError):
    """The caller's arguments are wrong; nothing was started. Exit code 4."""


class CloudError(KitError):
    """The AWS endpoint (local or real) could not be started, reached or used."""


class UnsafeTarget(KitError):
    """A guard of a real account refused: account not allowed, tag missing, no stop condition."""


class DeployFailed(KitError):
    """The stack did not come up, or not within its time; the message carries the first failed resource."""


class FaultError(KitError):
    """The experiment could not be started, followed or stopped."""


class EvidenceMissing(KitError):
    """Something that a verdict needs was not measured; the run is INVALID."""
