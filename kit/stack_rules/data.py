"""Rules about tables and queues: nothing that was accepted may expire, be given up, or be refused."""

from __future__ import annotations

from collections.abc import Iterator

from kit.stack_rules.roles import QUEUE, TABLE, environments, is_dead_letter_queue, is_used_as, target
from kit.stack_rules.rule import Condition, Rule, absent, at_least, between, equal, properties
from kit.stack_rules.template import REF, Template

# Their items may expire: they only say that an event was applied, and an event is not repeated after that long.
EXPIRING = "PB_APPLIED_TABLE"
QUEUE_VARIABLE = "PB_QUEUE_URL"
FOUR_DAYS_S, FOURTEEN_DAYS_S = 345_600, 1_209_600
MESSAGE_BYTES = 262_144

_is_expiring = is_used_as(EXPIRING)
_is_queue = is_used_as(QUEUE_VARIABLE)
_RECOVERABLE = Condition(
    text="true or !Ref PointInTimeRecovery",
    holds=lambda value: value is True or value == "true" or value == {REF: "PointInTimeRecovery"},
)


def _is_lasting(template: Template, name: str) -> bool:
    return not _is_expiring(template, name)


def _mixed_up(template: Template) -> Iterator[tuple[str, str]]:
    """Find a variable for a table or queue that means another resource in another task, or the same as another one."""
    meant: dict[str, str] = {}
    for name, values in environments(template):
        found = {key: target(value) for key, value in values.items() if key.endswith(("_TABLE", "_QUEUE_URL"))}
        if not found:
            yield f"{name}.Environment", "names no table"
        for key, resource in found.items():
            if template.resources.get(resource, {}).get("Type") not in {TABLE, QUEUE}:
                yield f"{name}.Environment.{key}", f"is {values[key]!r}, expected a table or queue of this template"
            if meant.setdefault(key, resource) != resource:
                yield f"{name}.Environment.{key}", f"is {resource}, in another task {meant[key]}"
        shared = {resource for resource in found.values() if list(found.values()).count(resource) > 1}
        for resource in sorted(shared):
            yield f"{name}.Environment", f"uses {resource} under two names"


RULES: tuple[Rule, ...] = (
    properties(TABLE, "BillingMode", equal("PAY_PER_REQUEST"),
        "provisioned capacity throttles orders above a rate that nobody has measured", default="PROVISIONED"),
    properties(TABLE, "OnDemandThroughput", absent(), "a limit on requests throttles orders at the busiest time"),
    properties(TABLE, "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", _RECOVERABLE,
        "a table that was damaged could not be restored", default=False, unresolved=True),
    properties(TABLE, "TimeToLiveSpecification", absent(),
        "orders, events, positions and sequence numbers must never expire", where=_is_lasting),
    properties(TABLE, "TimeToLiveSpecification.Enabled", equal(True),
        "the table of applied events would grow for ever", default=False, where=_is_expiring),
    properties(TABLE, "TimeToLiveSpecification.AttributeName", equal("ttl"),
        "PaperBroker writes the time of expiry as ttl", where=_is_expiring),
    properties(QUEUE, "FifoQueue", equal(True), "orders of a market must arrive in their order", default=False),
    properties(QUEUE, "ContentBasedDeduplication", equal(True),
        "a message without an id of its own would be refused", default=False, where=_is_queue),
    properties(QUEUE, "DeduplicationScope", equal("messageGroup"),
        "high throughput for FIFO queues needs it; otherwise 300 calls a second are the limit of all markets together",
        default="queue", where=_is_queue),
    properties(QUEUE, "FifoThroughputLimit", equal("perMessageGroupId"),
        "high throughput for FIFO queues needs it; otherwise 300 calls a second are the limit of all markets together",
        default="perQueue", where=_is_queue),
    properties(QUEUE, "RedrivePolicy.maxReceiveCount", at_least(100),
        "a message is received many times while a zone is lost, and must not end in the dead-letter queue",
        where=_is_queue),
    properties(QUEUE, "VisibilityTimeout", between(5, 30),
        "a shorter one delivers a message twice while it is processed; a longer one stops a market when a matcher dies",
        default=30, where=_is_queue),
    properties(QUEUE, "MessageRetentionPeriod", at_least(FOUR_DAYS_S),
        "an accepted order must survive a weekend without matchers", default=FOUR_DAYS_S, where=_is_queue),
    properties(QUEUE, "DelaySeconds", equal(0), "every order would wait that long", default=0),
    properties(QUEUE, "MaximumMessageSize", at_least(MESSAGE_BYTES), "a larger event would be refused after its order "
        "was accepted", default=MESSAGE_BYTES),
    properties(QUEUE, "ReceiveMessageWaitTimeSeconds", between(1, 20),
        "without long polling every idle matcher calls SQS in a loop", default=0, where=_is_queue),
    properties(QUEUE, "MessageRetentionPeriod", at_least(FOURTEEN_DAYS_S),
        "a message keeps its age in the dead-letter queue, so that a short retention deletes it before anyone looks",
        default=FOUR_DAYS_S, where=is_dead_letter_queue),
    Rule(name="tables-by-variable", why="a task would read what another one never writes", find=_mixed_up),
)  # fmt: skip
