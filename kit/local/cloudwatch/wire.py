"""Serialise the responses and errors of CloudWatch, in JSON or CBOR."""

from typing import Any

from ministack.services import cloudwatch

from kit.local.cloudwatch.request_rules import Refused
from kit.local.cloudwatch.series import Series

Reply = tuple[int, dict[str, str], bytes]


def metric_data(results: list[dict[str, Any]], token: str | None, *, is_cbor: bool) -> Reply:
    """Return the response of GetMetricData, with the token of the next page."""
    more = {"NextToken": token} if token else {}
    if is_cbor:
        encoded = [cloudwatch._cbor_metric_data_result(result) for result in results]
        return cloudwatch._cbor_ok({"MetricDataResults": encoded, "Messages": [], **more})
    return cloudwatch._json_ok({"MetricDataResults": results, "Messages": [], **more})


def metric_statistics(name: str, points: list[dict[str, Any]]) -> Reply:
    """Return the response of GetMetricStatistics."""
    return cloudwatch._json_ok({"Label": name, "Datapoints": points})


def metric_data_result(query_id: str, label: str, series: Any, newest_first: bool) -> dict[str, Any]:
    """Return one result of GetMetricData."""
    points: Series = series if isinstance(series, dict) else {}
    times = sorted(points, reverse=newest_first)
    return {
        "Id": query_id,
        "Label": label,
        "Timestamps": [cloudwatch._ts_iso(at) for at in times],
        "Values": [points[at] for at in times],
        "StatusCode": "Complete",
    }


def validation_error(message: str, is_cbor: bool, is_json: bool) -> Reply:
    """Return a ValidationError."""
    return cloudwatch._error("ValidationError", message, 400, use_json=is_json, use_cbor=is_cbor)


def refusal(refused: Refused, is_cbor: bool, is_json: bool) -> Reply:
    """Return the error of a request that CloudWatch refuses."""
    return cloudwatch._error(refused.code, str(refused), 400, use_json=is_json, use_cbor=is_cbor)


def refuse_query_protocol(operation: str) -> Reply:
    """Return the error for the old Query protocol."""
    message = f"{operation} by the Query protocol is not supported locally; use a current SDK"
    return validation_error(message, False, False)
