"""What Systems Manager answers when it refuses, and how a step of an automation says that it failed."""

from kit.errors import KitError


class SsmError(KitError):
    """Root of the API's errors: the error code on the wire; all of them are 400."""

    code = "InternalServerError"


class InvalidRequest(SsmError):
    """The request does not have the shape that the API's model asks for."""

    code = "ValidationException"


class Unsupported(SsmError):
    """AWS does this, the local AWS does not; it never pretends."""

    code = "UnsupportedOperation"


class InvalidDocumentContent(SsmError):
    """The content is no document that could run here."""

    code = "InvalidDocumentContent"


class InvalidDocumentSchemaVersion(SsmError):
    """Another schema than that of automation documents."""

    code = "InvalidDocumentSchemaVersion"


class DocumentAlreadyExists(SsmError):
    """The name is taken."""

    code = "DocumentAlreadyExists"


class DocumentLimitExceeded(SsmError):
    """Too many documents."""

    code = "DocumentLimitExceeded"


class DocumentVersionLimitExceeded(SsmError):
    """Too many versions of one document."""

    code = "DocumentVersionLimitExceeded"


class DuplicateDocumentContent(SsmError):
    """An update that changes nothing."""

    code = "DuplicateDocumentContent"


class DuplicateDocumentVersionName(SsmError):
    """A version name that another version of the document has."""

    code = "DuplicateDocumentVersionName"


class InvalidDocument(SsmError):
    """No such document."""

    code = "InvalidDocument"


class InvalidDocumentVersion(SsmError):
    """No such version of the document."""

    code = "InvalidDocumentVersion"


class InvalidDocumentOperation(SsmError):
    """The document cannot be treated so, such as deleting its default version."""

    code = "InvalidDocumentOperation"


class InvalidResourceId(SsmError):
    """Tags of something that is not there."""

    code = "InvalidResourceId"


class InvalidNextToken(SsmError):
    """A page token that this API did not make."""

    code = "InvalidNextToken"


class InvalidFilterKey(SsmError):
    """A filter that is not evaluated here; leaving it out would show too much."""

    code = "InvalidFilterKey"


class AutomationDefinitionNotFound(SsmError):
    """No such document to start."""

    code = "AutomationDefinitionNotFoundException"


class AutomationDefinitionVersionNotFound(SsmError):
    """No such version to start."""

    code = "AutomationDefinitionVersionNotFoundException"


class InvalidAutomationParameters(SsmError):
    """A parameter is missing, unknown, or not of its type."""

    code = "InvalidAutomationExecutionParametersException"


class AutomationLimitExceeded(SsmError):
    """Too many automations at once."""

    code = "AutomationExecutionLimitExceededException"


class AutomationNotFound(SsmError):
    """No such execution."""

    code = "AutomationExecutionNotFoundException"


class IdempotentParameterMismatch(SsmError):
    """A client token used again with another request."""

    code = "IdempotentParameterMismatch"


class InvalidAutomationStatusUpdate(SsmError):
    """Stopping what has ended."""

    code = "InvalidAutomationStatusUpdateException"


class OpsItemNotFound(SsmError):
    """No such OpsItem."""

    code = "OpsItemNotFoundException"


class OpsItemLimitExceeded(SsmError):
    """Too many OpsItems."""

    code = "OpsItemLimitExceededException"


class StepFailed(KitError):
    """A step of an automation could not do its work; `kind` is what FailureDetails calls it."""

    kind = "ExecutionFailure"


class StepInputInvalid(StepFailed):
    """The inputs, once resolved, are not what the action or the called API takes; trying again is no use."""

    kind = "InputValidation"


class StepTimedOut(StepFailed):
    """Not done within timeoutSeconds."""

    kind = "TimedOut"
