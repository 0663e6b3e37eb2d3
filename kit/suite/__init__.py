"""Run several game days as one: a list of scenarios, one gate, one JUnit file, one page.

`make_plan` checks everything first, `Execution` runs it, and `judge` reads a finished suite back for the gate.
`kit.power` runs its own members through the same `Execution` with its own `publish` function.
"""

from kit.suite.catalogue import PR, lines
from kit.suite.execution import COMMAND, Execution, Progress, table
from kit.suite.outcome import Outcome
from kit.suite.plan import JOBS_AUTO, Member, Plan, make_plan, parameter_options, parse_jobs, plan_member
from kit.suite.record import DONE, RUNNING, STOPPED, is_suite, iso, judge, main_reason

__all__ = [
    "COMMAND",
    "DONE",
    "JOBS_AUTO",
    "PR",
    "RUNNING",
    "STOPPED",
    "Execution",
    "Member",
    "Outcome",
    "Plan",
    "Progress",
    "is_suite",
    "iso",
    "judge",
    "lines",
    "main_reason",
    "make_plan",
    "parameter_options",
    "parse_jobs",
    "plan_member",
    "table",
]
