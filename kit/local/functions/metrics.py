"""Say which AWS/Lambda metric data an invocation makes."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "AWS/Lambda"

Dimensions = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datum:
    """One value of a metric."""

    name: str
    value: float
    unit: str
    dimensions: Dimensions


def of_invocation(
    function: str, qualifier: str, version: str, *, is_error: bool, duration_ms: float, concurrent: int
) -> list[Datum]:
    """Return the data of an invocation that ran, successfully or not."""
    values = [
        ("Invocations", 1.0, "Count"),
        ("Errors", float(is_error), "Count"),
        ("Throttles", 0.0, "Count"),
        ("Duration", duration_ms, "Milliseconds"),
        ("ConcurrentExecutions", float(concurrent), "Count"),
    ]
    return _for_all(function, qualifier, version, values)


def of_throttle(function: str, qualifier: str, version: str) -> list[Datum]:
    """Return the data of a throttled request: it is neither an invocation nor an error."""
    return _for_all(function, qualifier, version, [("Throttles", 1.0, "Count")])


def of_asynchronous(function: str, name: str, value: float = 1.0, unit: str = "Count") -> list[Datum]:
    """Return a datum about an asynchronous invocation (AsyncEventsReceived, AsyncEventsDropped, DeadLetterErrors …)."""
    return _for_all(function, "", "", [(name, value, unit)])


def _for_all(function: str, qualifier: str, version: str, values: list[tuple[str, float, str]]) -> list[Datum]:
    """Return the values for each set of dimensions under which Lambda publishes them."""
    sets: list[Dimensions] = [{}, {"FunctionName": function}]
    if qualifier:
        resource = {"FunctionName": function, "Resource": f"{function}:{qualifier}"}
        sets.append(resource)
        if qualifier != version:
            # An alias: Lambda says as well which version it led to.
            sets.append({**resource, "ExecutedVersion": version})
    return [
        Datum(name=name, value=value, unit=unit, dimensions=dict(each)) for each in sets for name, value, unit in values
    ]
