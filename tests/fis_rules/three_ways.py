"""Try one FIS template in three ways: the linter, CreateExperimentTemplate, and a stack of CloudFormation.

`python -m tests.fis_rules.three_ways FOLDER` does so for every template in the files of a folder, such as a checkout of
a public collection. It prints what is refused and why, and exits with 1 if the three ways disagree on any template.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack.core.responses import request_scope

from kit.errors import UsageError
from kit.faults.lint import lint
from kit.faults.lint.source import Source, read_templates
from kit.fis_rules.catalog import ACTIONS
from kit.fis_rules.problems import UNKNOWN
from kit.fis_rules.rules import check_template
from kit.local.fis import Fis
from kit.local.fis.cloudformation import resource_handlers
from kit.local.fis.errors import FisError

Template = dict[str, Any]
RESULTS = ("accepted", "refused", "disagreed")
SUFFIXES = {".json", ".yaml", ".yml", ".template"}
# Members whose keys are names that the author chose.
NAMED = {"targets", "actions", "resourceTags", "parameters", "tags"}
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors"
ROLE = "arn:aws:iam::123456789012:role/fis"
PLACEHOLDERS = (
    (
        re.compile(
            r"<[^<>]*ACCOUNT[^<>]*>|\$\{[A-Z0-9_]*ACCOUNT[A-Z0-9_]*\}|your_aws_account|YOUR_ACCOUNT_NUMBER_HERE",
            re.IGNORECASE,
        ),
        "123456789012",
    ),
    (re.compile(r"<[^<>]*REGION[^<>]*>|\$\{[A-Z0-9_]*REGION\}|YOUR_REGION_HERE", re.IGNORECASE), "us-east-1"),
    (re.compile(r"\$\{[A-Z0-9_]*ROLE_ARN\}|\b[A-Z_]*ROLE_ARN\b"), ROLE),
    (re.compile(r"\$\{[A-Z0-9_]*DOCUMENT_ARN\}|\bDOCUMENT_ARN\b"), "arn:aws:ssm:us-east-1:123456789012:document/d"),
    (re.compile(r"<[A-Z_]*INSTANCE_ARN>"), "arn:aws:ec2:us-east-1:123456789012:instance/i-1"),
    (re.compile(r"<[A-Za-z][A-Za-z0-9 _-]*>|\$\{[A-Z0-9_]+\}"), "x"),
)
# What a stack would put in the place of a function, by the member that holds it.
DEPLOYED: dict[str, Any] = {
    "roleArn": ROLE,
    "value": ALARM,
    "selectionMode": "ALL",
    "resourceArns": [ROLE],
    "resourceArn": ROLE,
    "stopConditions": [{"source": "none"}],
    "logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:fis:*",
    "actionId": "aws:fis:wait",
    "startAfter": [],
    "filters": [],
    "logConfiguration": None,
    "experimentReportConfiguration": None,
    "experimentOptions": None,
    "resourceTags": {"App": "shop"},
    "tags": {},
    "targets": {},
}
# The same for a parameter, by its kind.
DEPLOYED_PARAMETERS = {
    "duration": "PT5M", "arn": ROLE, "arns": ALARM, "boolean": "true", "count": "1", "decimal": "50", "port": "80",
    "milliseconds": "100", "percent": "50", "list": "a", "text": "x",
}  # fmt: skip


def lint_accepts(folder: Path, document: Any) -> bool:
    """Return whether the linter finds nothing that AWS refuses."""
    path = folder / "template.json"
    path.write_text(json.dumps(document))
    return not any(remark.is_refusal for _, remark in lint([path]))


def api_accepts(folder: Path, template: Template) -> bool:
    """Return whether CreateExperimentTemplate of the local AWS accepts it."""
    body = json.dumps({"clientToken": "token", **template}).encode()
    with request_scope("123456789012", "us-east-1"):
        status, _, answer = asyncio.run(fis_in(folder).handle("POST", "/experimentTemplates", {}, body, {}))
    assert status in (200, 400, 402), answer
    return status == 200


def cloudformation_accepts(folder: Path, properties: Template) -> bool:
    """Return whether the resource of a stack is created."""
    create = resource_handlers(fis_in(folder).control_plane)["create"]
    with request_scope("123456789012", "us-east-1"):
        try:
            create("T", properties, "stack")
        except FisError:
            return False
    return True


def fis_in(folder: Path) -> Fis:
    services: Any = SimpleNamespace(state_dir=folder, kept_dir=folder, seed=1)
    return Fis(services)


def in_cloudformation(value: Any, *, is_named: bool = False) -> Any:
    """Return the request's members as CloudFormation properties, in PascalCase."""
    if isinstance(value, list):
        return [in_cloudformation(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key if is_named else key[:1].upper() + key[1:]: in_cloudformation(item, is_named=key in NAMED and not is_named)
        for key, item in value.items()
    }


def answers(folder: Path, template: Template, properties: Template | None = None) -> dict[str, bool]:
    """Return the answer of each way to a request; `properties`: the same template in CloudFormation's notation."""
    resource: Template = in_cloudformation(template) if properties is None else properties
    stack = {"Resources": {"T": {"Type": "AWS::FIS::ExperimentTemplate", "Properties": resource}}}
    return {
        "lint of the request": lint_accepts(folder, template),
        "lint of the stack": lint_accepts(folder, stack),
        "API": api_accepts(folder, template),
        "CloudFormation": cloudformation_accepts(folder, resource),
    }


def deployed(value: Any, name: str = "", kinds: dict[str, str] | None = None) -> Any:
    """Put values in the place of what only the deployment knows."""
    if value is UNKNOWN:
        kind = (kinds or {}).get(name, "")
        return DEPLOYED.get(name, DEPLOYED_PARAMETERS.get(kind, kind.removeprefix("list:").split("|")[0] or "x"))
    if isinstance(value, list):
        return [deployed(item, name.removesuffix("s")) for item in value]
    if not isinstance(value, dict):
        return value
    spec = ACTIONS.get(value.get("actionId", "") if isinstance(value.get("actionId"), str) else "")
    own = {each: parameter.kind for each, parameter in spec.parameters.items()} if spec else {}
    made = {key: deployed(item, key, own or kinds) for key, item in value.items()}
    return {key: item for key, item in made.items() if item is not None}


def try_source(source: Source) -> tuple[dict[str, bool], list[str]]:
    """Return the answers to a template of a file and the reasons of a refusal."""
    checked = check_template(source.body, is_cloudformation=source.is_cloudformation)
    reasons = [problem.rule for problem in checked.problems]
    given: Any = source.body
    if source.is_cloudformation and isinstance(checked.request, dict) and not reasons:
        given = deployed(checked.request)
    with tempfile.TemporaryDirectory() as folder:
        if source.is_cloudformation and reasons:
            stack = {"Resources": {"T": {"Type": "AWS::FIS::ExperimentTemplate", "Properties": without_unknown(given)}}}
            found = {
                "lint": False,
                "lint of the stack": lint_accepts(Path(folder), stack),
                "CloudFormation": cloudformation_accepts(Path(folder), without_unknown(given)),
            }
        else:
            found = {"lint": not reasons, **answers(Path(folder), given)}
    return found, sorted(set(reasons))


def without_unknown(value: Any) -> Any:
    """Write functions as texts, for a template that is refused for something else."""
    if isinstance(value, dict):
        return {key: without_unknown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_unknown(item) for item in value]
    return "x" if value is UNKNOWN else value


def sources_in(folder: Path) -> Iterator[tuple[Path, Source]]:
    """Find every FIS template in the files of a folder; other files are left out."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            try:
                yield from ((path, source) for source in read_templates(path))
            except UsageError as error:
                if "holds no FIS template" not in str(error):
                    print(f"not read   {error}")


def filled(text: str) -> str:
    """Put plausible values in the place of what an author left to the reader, such as <YOUR AWS ACCOUNT>."""
    for pattern, value in PLACEHOLDERS:
        text = pattern.sub(value, text)
    return text


def fill(folder: Path, target: Path) -> None:
    """Copy the files of a folder with their placeholders filled."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(filled(path.read_text(errors="replace")))


def main(folder: Path) -> int:
    """Try the files as they were published, then with their placeholders filled."""
    print("== as published")
    published = report(folder)
    print("== placeholders filled")
    with tempfile.TemporaryDirectory() as target:
        fill(folder, Path(target))
        return max(published, report(Path(target)))


def report(folder: Path) -> int:
    """Print every refusal and disagreement, and the numbers."""
    counts: Counter[str] = Counter()
    for path, source in sources_in(folder):
        found, reasons = try_source(source)
        result = "disagreed" if len(set(found.values())) > 1 else "accepted" if all(found.values()) else "refused"
        counts[result] += 1
        if result != "accepted":
            print(f"{result:10} {path.relative_to(folder)} {source.name} {', '.join(reasons)}")
        if result == "disagreed":
            print(f"           {found}")
    total = counts.total()
    print(f"{total} templates: " + ", ".join(f"{counts[result]} {result}" for result in RESULTS))
    return int(counts["disagreed"] > 0 or not total)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
