"""Several game days as one: a list of scenarios, one gate, one JUnit file, one page.

`make_plan` checks, `Execution` runs, `judge` reads a finished suite back for the gate.
"""

from kit.suite.catalogue import lines
from kit.suite.execution import Execution, table
from kit.suite.plan import Plan
from kit.suite.plan import make as make_plan
from kit.suite.record import is_suite, judge

__all__ = ["Execution", "Plan", "is_suite", "judge", "lines", "make_plan", "table"]
