"""Give a new stack a past: write into its tables what PaperBroker would have left there, and keep it as evidence.

Reads and restarts cost more the longer a ledger is, and a bug may lose or alter what is old. On an empty ledger neither
shows. PaperBroker's own code computes the records (`paperbroker.past`, in a child process, always of the source tree
without a change). What clients sent and were answered then, and the ledger's events, become evidence of the run.
"""

from kit.past.recording import FOLDER, record
from kit.past.records import Past, compute
from kit.past.tables import write

__all__ = ["FOLDER", "Past", "compute", "record", "write"]
