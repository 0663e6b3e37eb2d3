"""Check that functions have AWS's FIS extension: without it, faults in Lambda invocations do nothing on AWS.

Source: the FIS user guide, "Use the AWS FIS aws:lambda:function actions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.faults.lint.ecs import candidates
from kit.faults.lint.remark import Remark, error, note
from kit.faults.lint.source import Source, texts
from kit.fis_rules.problems import UNKNOWN
from kit.fis_rules.template import Template

RULE = "lambda-fault-prerequisites"
PREFIX = "aws:lambda:invocation-"
LAYER = "the FIS extension as a layer"
LAYER_SIGN = "aws-fis-extension"
LOCATION = "AWS_FIS_CONFIGURATION_LOCATION"
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
WRAPPER_PATH = "/opt/aws-fis/bootstrap"
NEEDS = f"{LAYER}, {LOCATION} (the ARN of an S3 folder) and {WRAPPER}={WRAPPER_PATH}"


def check_lambda_prerequisites(template: Template, source: Source) -> Iterator[Remark]:
    """Report an error for each function in the file that lacks something, or a note if the file has none."""
    for action in template.known_actions().values():
        if action.id is UNKNOWN or not action.id.startswith(PREFIX):
            continue
        where = f"action {action.name}: {action.id}"
        functions = candidates(action, template, source.functions)
        for name, function in functions.items():
            lacking = _lacking(function)
            if lacking:
                yield error(RULE, f"{where} needs {' and '.join(lacking)}, which function {name} lacks")
        if not functions:
            yield note(RULE, f"{where} needs {NEEDS} in the function, which is not in this file")


def _lacking(function: Any) -> list[str]:
    """Return what the function certainly lacks, values that only the deployment knows left aside."""
    if not isinstance(function, Mapping):
        return []
    layers, environment = function.get("Layers"), function.get("Environment")
    lacking = []
    if layers is not UNKNOWN and not _may_hold(layers, LAYER_SIGN):
        lacking.append(LAYER)
    if environment is UNKNOWN:
        return lacking
    variables = environment.get("Variables") if isinstance(environment, Mapping) else None
    if variables is UNKNOWN:
        return lacking
    given = variables if isinstance(variables, Mapping) else {}
    if given.get(LOCATION) is None:
        lacking.append(LOCATION)
    if given.get(WRAPPER) not in (UNKNOWN, WRAPPER_PATH):
        lacking.append(f"{WRAPPER}={WRAPPER_PATH}")
    return lacking


def _may_hold(layers: Any, sign: str) -> bool:
    items = layers if isinstance(layers, list) else []
    return UNKNOWN in items or any(sign in text.lower() for text in texts(items))
