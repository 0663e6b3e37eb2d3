"""Rules about guardrail alarms and experiments: every fault can be stopped, reaches only its own run, and is undone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kit.stack_rules.roles import (
    ALARM,
    DOCUMENT,
    EXPERIMENT,
    environments,
    guardrails,
    is_guardrail,
    metrics_of,
    target,
)
from kit.stack_rules.rule import Condition, Rule, between, equal, present, properties, reference, shown
from kit.stack_rules.template import EACH, MISSING, REF, Template

LATENCY, ERRORS, REQUESTS = "LatencyMs", "Http5xx", "Requests"
WAIT = "aws:fis:wait"
# The units in which PaperBroker publishes. An alarm that names another one never has any data.
MILLISECONDS, COUNT = "Milliseconds", "Count"
# The properties of an alarm that a rule here judges, or that do not change when it fires. Any other one may silence it.
JUDGED = frozenset({
    "ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName", "ComparisonOperator", "DatapointsToAlarm",
    "Dimensions", "EvaluateLowSampleCountPercentile", "EvaluationPeriods", "ExtendedStatistic",
    "InsufficientDataActions", "MetricName", "Metrics", "Namespace", "OKActions", "Period", "Statistic", "Tags",
    "Threshold", "TreatMissingData", "Unit",
})  # fmt: skip
PRODUCTION = ("prod", "production", "prod-eu")
RESTORED_MIN_ATTEMPTS = 2


def _watches(*metrics: str) -> Callable[[Template, str], bool]:
    def test(template: Template, name: str) -> bool:
        return is_guardrail(template, name) and metrics_of(template.properties(name)) == set(metrics)

    return test


def _other_metrics(template: Template) -> Iterator[tuple[str, str]]:
    """Find guardrails on metrics that the API of this stack does not publish."""
    published = [values for _, values in environments(template)]
    namespaces = [values.get("PB_METRICS_NAMESPACE") for values in published]
    identities = [values.get("PB_ENV") for values in published]
    for name in sorted(guardrails(template)):
        alarm = template.properties(name)
        stats = [entry["MetricStat"]["Metric"] for entry in alarm.get("Metrics", ()) if "MetricStat" in entry]
        for metric in stats or [alarm]:
            if metric.get("Namespace") not in namespaces:
                yield f"{name}.Namespace", f"is {shown(metric.get('Namespace'))}, expected {shown(namespaces[0])}"
            dimensions = {entry["Name"]: entry["Value"] for entry in metric.get("Dimensions", ())}
            if dimensions.get("Env") not in identities or dimensions.get("Component") != "api":
                yield f"{name}.Dimensions", f"is {shown(metric.get('Dimensions'))}, expected Env and Component=api"


def _odd_members(template: Template) -> Iterator[tuple[str, str]]:
    """Find guardrails with a property that no rule judges."""
    for name in sorted(guardrails(template)):
        for member in sorted(set(template.properties(name)) - JUDGED):
            yield f"{name}.{member}", "is set, expected only properties that are known not to silence the alarm"


def _unguarded(template: Template) -> Iterator[tuple[str, str]]:
    """Find experiments that inject a fault without all three guardrails."""
    needed = {_kind(template.properties(name)): name for name in template.of_type(ALARM)}
    missing = [kind for kind in ("latency", "errors", "silence") if kind not in needed]
    for kind in missing:
        yield ALARM, f"has none on {kind}"
    for name, experiment in template.of_type(EXPERIMENT).items():
        actions = [action.get("ActionId") for action in (experiment.get("Actions") or {}).values()]
        conditions = list(template.at(experiment, ("StopConditions", EACH)))
        stops = {target(entry.get("Value")) for entry in conditions if isinstance(entry, Mapping)}
        wanted = ("silence",) if set(actions) == {WAIT} else ("latency", "errors", "silence")
        for kind in wanted:
            if needed.get(kind) not in stops:
                yield f"{name}.StopConditions", f"lacks the guardrail on {kind}"


def _kind(alarm: Mapping[str, Any]) -> str:
    known = {(LATENCY,): "latency", (ERRORS, REQUESTS): "errors", (REQUESTS,): "silence"}
    return known.get(tuple(sorted(metrics_of(alarm))), "")


def _far_reaching(template: Template) -> Iterator[tuple[str, str]]:
    """Find experiments that could select targets of another run."""
    for name, experiment in template.of_type(EXPERIMENT).items():
        for key, chosen in (experiment.get("Targets") or {}).items():
            tags = chosen.get("ResourceTags") or {}
            if tags.get("RunId") != {REF: "RunId"} or tags.get("App") != "PaperBroker":
                yield f"{name}.Targets.{key}", f"selects by {shown(tags)}, expected App and the run's own RunId"
            if "ResourceArns" in chosen:
                yield f"{name}.Targets.{key}", "names resources"
        if (experiment.get("Tags") or {}).get("RunId") != {REF: "RunId"}:
            yield f"{name}.Tags", "has no RunId, by which a run finds and stops its experiments"


def _not_restored(template: Template) -> Iterator[tuple[str, str]]:
    """Find automations whose last step, which restores, does not run however the others end."""
    for name, document in template.of_type(DOCUMENT).items():
        *steps, last = (document.get("Content") or {}).get("mainSteps") or [{}]
        if not steps or steps[0].get("inputs", {}).get("Api") == "UpdateService":
            continue  # ECS completes a deployment that has started, or rolls it back.
        order = [step.get("name") for step in (*steps, last)]
        for index, step in enumerate(steps):
            for way in ("onFailure", "onCancel"):
                following = str(step.get(way, "Abort")).removeprefix("step:")
                if following not in order[index + 1 :]:
                    yield f"{name}.{step.get('name')}.{way}", f"is {step.get(way)}, expected a later step"
        if steps[0].get("inputs", {}).get("Api") != last.get("inputs", {}).get("Api"):
            yield f"{name}.{last.get('name')}", "does not restore by the call that changed something"
        if last.get("maxAttempts", 1) < RESTORED_MIN_ATTEMPTS:
            yield f"{name}.{last.get('name')}.maxAttempts", f"is {last.get('maxAttempts', 1)}"


def _production(template: Template) -> Iterator[tuple[str, str]]:
    pattern = template.parameters.get("EnvName", {}).get("AllowedPattern", ".*")
    for env in PRODUCTION:
        if re.fullmatch(pattern, env):
            yield "EnvName.AllowedPattern", f"accepts {env!r}"


_RISING = equal("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")
_TOLERANT = equal("notBreaching", "ignore")
_HIGH = Condition(text="p90 to p99", holds=lambda value: bool(re.fullmatch(r"p9\d(\.\d+)?", str(value))))
_OWN_LATENCY, _OWN_ERRORS, _OWN_SILENCE = _watches(LATENCY), _watches(ERRORS, REQUESTS), _watches(REQUESTS)

RULES: tuple[Rule, ...] = (
    properties(ALARM, "ActionsEnabled", equal(True), "nobody would hear of it", default=True),
    properties(ALARM, "AlarmActions", present(), "nobody would hear of it"),
    properties(ALARM, "EvaluationPeriods", between(1, 6), "an experiment must stop within a minute",
        where=is_guardrail),
    properties(ALARM, "Threshold", reference("GuardrailP95Ms"),
        "the scenario sets the limit", where=_OWN_LATENCY, unresolved=True),
    properties(ALARM, "Threshold", between(500, 5000), "a lower limit stops every experiment, a higher one none",
        where=_OWN_LATENCY),
    properties(ALARM, "Threshold", reference("GuardrailErrorRate"),
        "the scenario sets the limit", where=_OWN_ERRORS, unresolved=True),
    properties(ALARM, "Threshold", between(0.05, 0.5), "a lower limit stops every experiment, a higher one none",
        where=_OWN_ERRORS),
    properties(ALARM, "Threshold", between(1, 10), "no metrics at all must be below it", where=_OWN_SILENCE),
    properties(ALARM, "ExtendedStatistic", _HIGH, "an average hides what the slowest clients see", where=_OWN_LATENCY),
    properties(ALARM, "Statistic", equal("SampleCount"), "silence is the absence of samples", where=_OWN_SILENCE),
    properties(ALARM, "Period", equal(10), "an experiment must stop within a minute", where=_OWN_LATENCY),
    properties(ALARM, "Period", equal(10), "an experiment must stop within a minute", where=_OWN_SILENCE),
    properties(ALARM, "ComparisonOperator", _RISING, "too high is what breaks", where=_OWN_LATENCY),
    properties(ALARM, "ComparisonOperator", _RISING, "too high is what breaks", where=_OWN_ERRORS),
    properties(ALARM, "ComparisonOperator", equal("LessThanThreshold"), "too few is what breaks", where=_OWN_SILENCE),
    properties(ALARM, "TreatMissingData", equal("breaching"),
        "an experiment whose effect is not observed must stop", default="missing", where=_OWN_SILENCE),
    properties(ALARM, "TreatMissingData", _TOLERANT, "silence has an alarm of its own", default="missing",
        where=_OWN_ERRORS),
    properties(ALARM, ("Metrics", "*", "MetricStat", "Period"), equal(10, MISSING),
        "an experiment must stop within a minute", where=_OWN_ERRORS),
    properties(ALARM, ("Metrics", "*", "MetricStat", "Stat"), equal("Sum", MISSING),
        "a share needs sums", where=_OWN_ERRORS),
    properties(ALARM, ("Metrics", "*", "Expression"), equal("errors / requests", MISSING),
        "the limit is a share of 5xx answers", where=_OWN_ERRORS),
    properties(ALARM, "Unit", equal(MILLISECONDS, MISSING), "no data have another unit", where=_OWN_LATENCY),
    properties(ALARM, "Unit", equal(COUNT, MISSING), "no data have another unit", where=_OWN_SILENCE),
    properties(ALARM, ("Metrics", "*", "MetricStat", "Unit"), equal(COUNT, MISSING), "no data have another unit",
        where=_OWN_ERRORS),
    properties(ALARM, "EvaluateLowSampleCountPercentile", equal("evaluate"),
        "a percentile of few requests would be left out", default="evaluate", where=_OWN_LATENCY),
    properties(ALARM, "DatapointsToAlarm", between(1, 6), "an experiment must stop within a minute", default=1,
        where=is_guardrail),
    properties(EXPERIMENT, "ExperimentOptions.EmptyTargetResolutionMode", equal("fail"),
        "an experiment without targets would pass without a fault", default="fail"),
    Rule(name="guardrail-metrics", why="the alarm would watch something else than this stack's API",
        find=_other_metrics),
    Rule(name="guardrail-members", why="the alarm could stay quiet", find=_odd_members),
    Rule(name="stop-conditions", why="a fault that harms clients too much must stop", find=_unguarded),
    Rule(name="own-targets", why="a fault must not reach another run", find=_far_reaching),
    Rule(name="automation-restores", why="the fault would outlive the experiment", find=_not_restored),
    Rule(name="no-production", why="game days never run in production", find=_production),
)  # fmt: skip
