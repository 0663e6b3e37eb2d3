"""The errors of PaperBroker: one root, one leaf per decision of a caller. `paperbroker.api` maps them to statuses."""


class PaperBrokerError(Exception):
    """Root of every error that PaperBroker raises on purpose; the message names object, value and limit."""


class SettingsError(PaperBrokerError):
    """The environment lacks a variable, or holds a value that cannot be used. The process does not start."""


class InvalidRequest(PaperBrokerError):
    """The request's content is wrong; `field` names the first offending field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class IdempotencyKeyReused(PaperBrokerError):
    """(clientId, idempotencyKey) was already used for other content; the request had no effect."""


class OrderIdReused(PaperBrokerError):
    """The order id already belongs to an order accepted under another key; the request had no effect."""


class UnknownOrder(PaperBrokerError):
    """No order of this id was ever accepted."""


class NotOwner(PaperBrokerError):
    """The order belongs to another client."""


class Overloaded(PaperBrokerError):
    """The process cannot finish the request in time: too many are in flight, or the store is too slow.

    The request had no effect.
    """


class ClientOverloaded(PaperBrokerError):
    """One client already holds its share of this process; the request had no effect."""


class StoreUnavailable(PaperBrokerError):
    """DynamoDB did not answer, or not within its bounds. A write may or may not have been applied."""


class StoreThrottled(StoreUnavailable):
    """DynamoDB throttled the call; it had no effect. Retry after a pause."""


class StoreContended(StoreUnavailable):
    """Other transactions kept conflicting on the same items; nothing was written."""


class QueueUnavailable(PaperBrokerError):
    """SQS did not answer, or not within its bounds. A send may or may not have been applied."""


class FenceLost(PaperBrokerError):
    """The market's sequence has moved: another writer committed. Nothing was written."""


class AlreadyApplied(PaperBrokerError):
    """Some intake events of the commit were applied before; nothing was written."""

    def __init__(self, event_ids: frozenset[str]) -> None:
        super().__init__(f"events {sorted(event_ids)} were applied before")
        self.event_ids = event_ids


class FlagsUnavailable(PaperBrokerError):
    """The feature flags could not be read or parsed."""


class LedgerCorrupt(PaperBrokerError):
    """The ledger read back is not the contiguous, appliable sequence that was written."""
