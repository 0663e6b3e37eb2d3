"""Provide sessions and clients for AWS and for the local AWS, and run the local AWS as a process.

Stages get a `Session`, which works the same for both targets. The local AWS is reached over HTTP only.
"""

from kit.aws.local_process import LocalCloud, find_local, start_local, start_local_detached, stop_local
from kit.aws.session import (
    ACCOUNTS_VARIABLE,
    MISLEADING_VARIABLES,
    Credentials,
    Session,
    local_session,
    session,
    task_session,
)

__all__ = [
    "ACCOUNTS_VARIABLE",
    "MISLEADING_VARIABLES",
    "Credentials",
    "LocalCloud",
    "Session",
    "find_local",
    "local_session",
    "session",
    "start_local",
    "start_local_detached",
    "stop_local",
    "task_session",
]
