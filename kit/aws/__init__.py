"""AWS for every stage: sessions and clients, real or local, and the local AWS as a process.

Owns time-outs, retries, credentials of the local target and the account guard. Stages get a `Session` and never
learn which target it has; nothing here imports `kit.local`, which is reached over HTTP.
"""

from kit.aws.local import LocalCloud, find_local, start_local, start_local_detached, stop_local
from kit.aws.session import ACCOUNTS_VARIABLE, Session, local_session, session

__all__ = [
    "ACCOUNTS_VARIABLE",
    "LocalCloud",
    "Session",
    "find_local",
    "local_session",
    "session",
    "start_local",
    "start_local_detached",
    "stop_local",
]
