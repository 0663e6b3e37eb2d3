"""Several game days as one: a list of scenarios, one gate, one JUnit file, one page.

`make_plan` checks, `Execution` runs, `judge` reads a finished suite back for the gate. `kit.power` runs its own members
through the same `Execution`, with a publisher of its own.
"""

from kit.suite.catalogue import PR, lines
from kit.suite.execution import COMMAND, Execution, Progress, table
from kit.suite.plan import JOBS_AUTO, Member, Plan, member, places
from kit.suite.plan import make as make_plan
from kit.suite.record import DONE, RUNNING, STOPPED, is_suite, iso, judge, why
from kit.suite.run_process import Outcome

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
    "make_plan",
    "member",
    "places",
    "table",
    "why",
]
