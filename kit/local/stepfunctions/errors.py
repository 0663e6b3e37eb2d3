"""Define the errors of Step Functions' API, and the errors that end a state."""

from __future__ import annotations

from kit.errors import KitError

ALL = "States.ALL"
DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
INTRINSIC_FAILURE = "States.IntrinsicFailure"
ITEM_READER_FAILED = "States.ItemReaderFailed"
NO_CHOICE_MATCHED = "States.NoChoiceMatched"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"
RESULT_PATH_MATCH_FAILURE = "States.ResultPathMatchFailure"
RESULT_WRITER_FAILED = "States.ResultWriterFailed"
RUNTIME = "States.Runtime"
TASK_FAILED = "States.TaskFailed"
THRESHOLD_EXCEEDED = "States.ExceedToleratedFailureThreshold"
TIMEOUT = "States.Timeout"


class ApiError(KitError):
    """Root of the API's errors; `code` is the error code in the response, whose status is 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StateFailed(KitError):
    """A state failed with a name that Retry and Catch match, and a cause. Both may be unknown.

    `is_terminal` errors end the execution whatever the state catches.
    """

    def __init__(self, name: str | None, cause: str | None = None, *, is_terminal: bool = False) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause
        self.is_terminal = is_terminal


class QueryFailed(StateFailed):
    """A query or a path of a state cannot be evaluated. `text` gets the state and its event as its beginning.

    `location` names the field. `is_recorded` failures have an event of their own, EvaluationFailed.
    """

    def __init__(self, name: str, text: str, *, location: str = "", is_recorded: bool = False) -> None:
        super().__init__(name, text, is_terminal=name == RUNTIME)
        self.text = text
        self.location = location
        self.is_recorded = is_recorded


def runtime_error(text: str, *, location: str = "") -> QueryFailed:
    """Return the failure of a path, which nothing catches."""
    return QueryFailed(RUNTIME, text, location=location)


def evaluation_error(text: str, *, location: str = "") -> QueryFailed:
    """Return the failure of a JSONata expression."""
    return QueryFailed(QUERY_EVALUATION_ERROR, text, location=location, is_recorded=True)
