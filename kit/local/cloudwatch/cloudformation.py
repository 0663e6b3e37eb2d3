"""Make AWS::CloudWatch::CompositeAlarm, and AWS::CloudWatch::Alarm with metric math, for CloudFormation."""

from collections.abc import Callable
from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from kit.local.cloudwatch.alarm_definitions import as_math_alarm, check_alarm, keep_one_statistic
from kit.local.cloudwatch.request_rules import check_actions, check_dashboard
from kit.local.cloudwatch.suppression import EXTENSION_S, SUPPRESSOR, WAIT_S
from kit.local.patching import Patches

COMPOSITE = "AWS::CloudWatch::CompositeAlarm"
_NAME_CHARS_MAX = 255

Props = dict[str, Any]


def install(patches: Patches) -> None:
    """Add composite alarms, and check metric alarms as PutMetricAlarm does."""
    patches.wrap(provisioners, "_cw_metric_alarm_record", _metric_alarm_record)
    patches.wrap(cloudwatch, "cloudformation_put_dashboard", _put_dashboard)
    handlers = {"create": _create, "update": _update, "update_with_logical_id": True, "delete": _delete}
    patches.add_resource_type(COMPOSITE, handlers, tags="list")


def _metric_alarm_record(record: Callable[[str, Props], Props], name: str, props: Props) -> Props:
    check_actions(props)
    check_alarm({**props, "AlarmName": name})
    metrics = props.get("Metrics")
    if not metrics:
        alarm = record(name, props)
        keep_one_statistic(alarm)
        return alarm
    plain = {key: value for key, value in props.items() if key != "Metrics"}
    alarm = record(name, {**plain, "MetricName": "math", "Namespace": "math"})
    as_math_alarm(alarm, [_typed_query(query) for query in metrics])
    return alarm


def _put_dashboard(put: Callable[[str, str], str], name: str, body: str) -> str:
    check_dashboard(body)
    return put(name, body)


def _typed_query(query: Props) -> Props:
    """Convert strings of a template to the numbers and booleans that the API has."""
    typed = dict(query)
    if "ReturnData" in typed:
        typed["ReturnData"] = str(typed["ReturnData"]).lower() == "true"
    if typed.get("MetricStat"):
        typed["MetricStat"] = {**typed["MetricStat"], "Period": int(typed["MetricStat"].get("Period", 60))}
    return typed


def _name(logical_id: str, props: Props, stack_name: str) -> str:
    return props.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=_NAME_CHARS_MAX)


def _create(logical_id: str, props: Props, stack_name: str) -> tuple[str, Props]:
    return _put(_name(logical_id, props, stack_name), props)


def _update(physical_id: str, old: Props, new: Props, stack_name: str, logical_id: str) -> tuple[str, Props]:
    name = new.get("AlarmName") or physical_id
    if name != physical_id:
        # A rename replaces the alarm. MiniStack would then delete the alarm of the new name, so we delete the old one.
        created = _put(name, new)
        _delete(physical_id, old)
        return created
    return _put(name, new)


def _put(name: str, props: Props) -> tuple[str, Props]:
    request = {
        "AlarmName": name,
        "AlarmRule": props.get("AlarmRule", ""),
        "AlarmDescription": props.get("AlarmDescription", ""),
        "ActionsEnabled": str(props.get("ActionsEnabled", True)).lower() == "true",
        **{key: props.get(key) or [] for key in ("AlarmActions", "OKActions", "InsufficientDataActions")},
        # CloudFormation adds `aws:` tags, which CloudWatch refuses.
        "Tags": [tag for tag in props.get("Tags") or [] if not tag["Key"].startswith("aws:")],
    }
    if props.get(SUPPRESSOR):
        request |= {SUPPRESSOR: props[SUPPRESSOR], WAIT_S: int(props[WAIT_S]), EXTENSION_S: int(props[EXTENSION_S])}
    status, _, body = cloudwatch._put_composite_alarm({}, request, False, True)
    if status != 200:
        raise ValueError(f"{COMPOSITE} {name}: {body.decode(errors='replace')}")
    return name, {"Arn": cloudwatch._composite_alarms[name]["AlarmArn"]}


def _delete(physical_id: str, props: Props) -> None:
    alarm = cloudwatch._composite_alarms.pop(physical_id, None)
    if alarm is not None:
        cloudwatch._composite_triggers.pop(physical_id, None)
        cloudwatch._resource_tags.pop(alarm["AlarmArn"], None)
