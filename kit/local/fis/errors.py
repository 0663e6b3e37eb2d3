"""The errors of the FIS API, and the failures of experiments and actions."""

from kit.errors import KitError


class FisError(KitError):
    """Root of the API's errors: `code` is the error code of the answer, `status` its HTTP status."""

    code = "InternalServerException"
    status = 500


class InvalidRequest(FisError):
    """The request or the template is invalid."""

    code = "ValidationException"
    status = 400


class NotFound(FisError):
    """The template, experiment, action, resource type or lever does not exist."""

    code = "ResourceNotFoundException"
    status = 404

    @classmethod
    def for_id(cls, noun: str, identifier: str) -> "NotFound":
        """Name the missing object."""
        return cls(f"{noun} {identifier} does not exist")


class Conflict(FisError):
    """The request contradicts the current state: a client token used again, a lever that is engaging."""

    code = "ConflictException"
    status = 409


class QuotaExceeded(FisError):
    """A service quota is exceeded; AWS answers 402."""

    code = "ServiceQuotaExceededException"
    status = 402

    @classmethod
    def for_quota(cls, noun: str, value: int, limit: int) -> "QuotaExceeded":
        """Name the quota, the value and the limit."""
        return cls(f"{value} {noun} exceed the quota of {limit}")


class ExperimentFailure(KitError):
    """An experiment or an action cannot continue; `code` is a code of AWS's `ExperimentError`."""

    code = "InternalFailure"


class ConfigurationFailure(ExperimentFailure):
    """The template asks for something that cannot work on the local AWS."""

    code = "ConfigurationFailure"


class DependentServiceFailure(ExperimentFailure):
    """Another service refused or failed a request of the action."""

    code = "DependentServiceFailure"


class InvalidTarget(ExperimentFailure):
    """There is no target, or a target does not exist."""

    code = "InvalidTarget"
