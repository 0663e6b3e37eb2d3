"""Take the local AWS's priority and print whether that worked and the niceness afterwards."""

import os

from kit.local.__main__ import take_priority

print(take_priority(), os.getpriority(os.PRIO_PROCESS, 0))  # noqa: T201  # the answer to the test
