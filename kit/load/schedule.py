"""Schedule the operations as Poisson arrivals, and wake up for them by a Linux timer.

The schedule does not depend on answers. That makes the load open loop: a stalled server shows as latency instead of as
missing requests.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

import numpy as np

from kit.model import NS_PER_S

ARRIVALS_PER_BLOCK = 4_096  # drawn at once, in constant memory
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_DELAY_NS_MIN = 1_000  # zero would disarm the timer


def arrivals_ns(seed: int, rate_per_s: float, duration_s: float) -> Iterator[int]:
    """Yield ascending offsets of a Poisson process in ns, each below `duration_s`."""
    generator = np.random.default_rng(seed)
    end_ns = int(duration_s * NS_PER_S)
    last = 0.0
    while True:
        gaps = generator.exponential(NS_PER_S / rate_per_s, ARRIVALS_PER_BLOCK)
        offsets = last + np.cumsum(gaps)
        last = float(offsets[-1])
        for offset in offsets.astype(np.int64).tolist():
            if offset >= end_ns:
                return
            yield offset


def without_pauses(offsets_ns: Iterator[int], busy_s: float, idle_s: float) -> Iterator[int]:
    """Leave out the arrivals of idle times: after every `busy_s` nothing arrives for `idle_s`."""
    return (offset for offset in offsets_ns if not idle_left_ns(offset, busy_s, idle_s))


def idle_left_ns(offset_ns: int, busy_s: float, idle_s: float) -> int:
    """Return how long the idle time at this offset still lasts; 0 in a busy time."""
    period_ns = int((busy_s + idle_s) * NS_PER_S)
    into_ns = offset_ns % period_ns
    return period_ns - into_ns if into_ns >= int(busy_s * NS_PER_S) else 0


class TimerFd:
    """A Linux timer behind a file descriptor. Timers of the event loop have a resolution of 1 ms only."""

    __slots__ = ("_libc", "fd")

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")

    def arm(self, delay_ns: int) -> None:
        """Make `fd` readable once, `delay_ns` from now, or at once if that is negative."""
        seconds, rest = divmod(max(delay_ns, _DELAY_NS_MIN), NS_PER_S)
        self._libc.timerfd_settime(self.fd, 0, struct.pack("qqqq", 0, 0, seconds, rest), None)

    def clear(self) -> None:
        """Consume the expiry, if there is one, so that `fd` is not readable any more."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)
