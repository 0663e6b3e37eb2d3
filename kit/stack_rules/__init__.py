"""Check PaperBroker's CloudFormation template against the promises that a run on one machine cannot show.

A run finds what a changed stack does to orders within minutes. Permissions, retention, recovery and alarms show in an
account, or on the day that they are needed; these rules say what they have to be, and why.
"""

from kit.stack_rules import compute, data, guardrails, network, permissions, serving
from kit.stack_rules.rule import Rule, Violation
from kit.stack_rules.template import read_template

RULES: tuple[Rule, ...] = (
    *serving.RULES,
    *network.RULES,
    *data.RULES,
    *compute.RULES,
    *permissions.RULES,
    *guardrails.RULES,
)


def violations(text: str) -> list[Violation]:
    """Find all places of a template that break a rule. Raises UsageError if the text is no CloudFormation template."""
    template = read_template(text)
    return [found for rule in RULES for found in rule.violations(template)]


__all__ = ["RULES", "Rule", "Violation", "violations"]
