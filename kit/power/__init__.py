"""Measure how good the gate is: known bad changes (mutants) that it must catch, and good runs that it must pass.

`begin` or `reopen` plans a measurement, `Measurement` runs it through the suite's execution and writes `power.json`,
and `review` reads that record back for the gate.
"""

from kit.power.measurement import Measurement, table
from kit.power.plan import GOOD_RUNS
from kit.power.record import is_power
from kit.power.review import review
from kit.power.session import Session, begin, reopen

__all__ = [
    "GOOD_RUNS",
    "Measurement",
    "Session",
    "begin",
    "is_power",
    "reopen",
    "review",
    "table",
]
