"""What FIS answers when it refuses, and how an action says that it failed."""

from kit.errors import KitError


class FisError(KitError):
    """Root of the API's errors: the error code on the wire and its HTTP status."""

    code = "InternalServerException"
    status = 500


class InvalidRequest(FisError):
    """The request or the template is wrong."""

    code = "ValidationException"
    status = 400


class NotFound(FisError):
    """No such template, experiment, action, resource type or lever."""

    code = "ResourceNotFoundException"
    status = 404

    @classmethod
    def for_id(cls, noun: str, identifier: str) -> "NotFound":
        """Name what was looked for."""
        return cls(f"{noun} {identifier} does not exist")


class Conflict(FisError):
    """The request contradicts what is there: a client token used again, a lever on the move."""

    code = "ConflictException"
    status = 409


class QuotaExceeded(FisError):
    """A service quota; AWS answers 402."""

    code = "ServiceQuotaExceededException"
    status = 402

    @classmethod
    def for_quota(cls, noun: str, value: int, limit: int) -> "QuotaExceeded":
        """Name the quota, the value and the limit."""
        return cls(f"{value} {noun} exceed the quota of {limit}")


class ExperimentFailure(KitError):
    """An experiment or an action of it cannot go on; `code` is one of the codes of `ExperimentError`."""

    code = "InternalFailure"


class ConfigurationFailure(ExperimentFailure):
    """The template asks for something that cannot work here."""

    code = "ConfigurationFailure"


class DependentServiceFailure(ExperimentFailure):
    """Another service refused what the action asked of it."""

    code = "DependentServiceFailure"


class InvalidTarget(ExperimentFailure):
    """No target, or a target that is not there."""

    code = "InvalidTarget"
