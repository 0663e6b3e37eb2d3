"""How good is the gate? Known bad changes that it must catch, and good runs of which it must not complain.

`begin` or `reopen` plans, `Measurement` runs (through the suite's execution), the record is `power.json`, which
`review` reads back for the gate. Owns the rule what caught means; knows nothing of how a run is judged.
"""

from kit.power.measurement import Measurement, table
from kit.power.plan import GOOD_RUNS
from kit.power.record import is_power
from kit.power.review import Review, review
from kit.power.session import Session, begin, reopen

__all__ = [
    "GOOD_RUNS",
    "Measurement",
    "Review",
    "Session",
    "begin",
    "is_power",
    "reopen",
    "review",
    "table",
]
