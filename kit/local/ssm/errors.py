"""Define the errors of Systems Manager's API, and of the steps of an automation."""

from kit.errors import KitError


class SsmError(KitError):
    """Root of the API's errors; `code` is the error code in the response, whose status is 400."""

    code = "InternalServerError"


class InvalidRequest(SsmError):
    """The request does not match the API's model."""

    code = "ValidationException"


class Unsupported(SsmError):
    """AWS supports this, the local AWS does not."""

    code = "UnsupportedOperation"


class InvalidDocumentContent(SsmError):
    """The content is not a document that the local AWS can run."""

    code = "InvalidDocumentContent"


class InvalidDocumentSchemaVersion(SsmError):
    """The schema is not that of automation documents."""

    code = "InvalidDocumentSchemaVersion"


class DocumentAlreadyExists(SsmError):
    """A document of this name exists."""

    code = "DocumentAlreadyExists"


class DocumentLimitExceeded(SsmError):
    """Too many documents."""

    code = "DocumentLimitExceeded"


class DocumentVersionLimitExceeded(SsmError):
    """Too many versions of one document."""

    code = "DocumentVersionLimitExceeded"


class DuplicateDocumentContent(SsmError):
    """The document has a version of this content."""

    code = "DuplicateDocumentContent"


class DuplicateDocumentVersionName(SsmError):
    """Another version of the document has this version name."""

    code = "DuplicateDocumentVersionName"


class InvalidDocument(SsmError):
    """No such document."""

    code = "InvalidDocument"


class InvalidDocumentVersion(SsmError):
    """No such version of the document."""

    code = "InvalidDocumentVersion"


class InvalidDocumentOperation(SsmError):
    """The document's state does not allow the operation, such as deleting its default version."""

    code = "InvalidDocumentOperation"


class InvalidResourceId(SsmError):
    """The resource whose tags are asked for does not exist."""

    code = "InvalidResourceId"


class InvalidNextToken(SsmError):
    """The token is not one that this API returned."""

    code = "InvalidNextToken"


class InvalidFilterKey(SsmError):
    """The local AWS does not evaluate the filter, and ignoring it would return too much."""

    code = "InvalidFilterKey"


class InvalidFilterOption(SsmError):
    """The filter has no such option."""

    code = "InvalidFilterOption"


class InvalidAllowedPattern(SsmError):
    """The pattern of a parameter cannot be read."""

    code = "InvalidAllowedPatternException"


class ParameterPatternMismatch(SsmError):
    """The value of a parameter does not match its pattern."""

    code = "ParameterPatternMismatchException"


class AutomationDefinitionNotFound(SsmError):
    """The document to start does not exist."""

    code = "AutomationDefinitionNotFoundException"


class AutomationDefinitionVersionNotFound(SsmError):
    """The version to start does not exist."""

    code = "AutomationDefinitionVersionNotFoundException"


class InvalidAutomationParameters(SsmError):
    """A parameter is missing, unknown, or not of its type."""

    code = "InvalidAutomationExecutionParametersException"


class AutomationLimitExceeded(SsmError):
    """Too many automations run."""

    code = "AutomationExecutionLimitExceededException"


class AutomationNotFound(SsmError):
    """No such execution."""

    code = "AutomationExecutionNotFoundException"


class IdempotentParameterMismatch(SsmError):
    """The client token was used with another request."""

    code = "IdempotentParameterMismatch"


class InvalidAutomationStatusUpdate(SsmError):
    """The execution to stop has ended."""

    code = "InvalidAutomationStatusUpdateException"


class OpsItemNotFound(SsmError):
    """No such OpsItem."""

    code = "OpsItemNotFoundException"


class OpsItemAlreadyExists(SsmError):
    """An open OpsItem has the same deduplication string."""

    code = "OpsItemAlreadyExistsException"


class OpsItemLimitExceeded(SsmError):
    """Too many OpsItems."""

    code = "OpsItemLimitExceededException"


class StepFailed(KitError):
    """A step of an automation failed; `kind` is the FailureType in FailureDetails."""

    kind = "ExecutionFailure"


class StepInputInvalid(StepFailed):
    """The action or the called API does not accept the resolved inputs, so retries are useless."""

    kind = "InputValidation"


class StepTimedOut(StepFailed):
    """The step did not end within timeoutSeconds."""

    kind = "TimedOut"
