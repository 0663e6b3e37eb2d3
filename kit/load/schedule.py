"""When operations are meant to start, and waking up for it: Poisson arrivals and a Linux timer.

Owns time before sending; must not know what is sent. The schedule never looks at answers: that is what makes the
load open loop, and what makes a stalled server visible as latency instead of as missing requests.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

import numpy as np

from kit.model import NS_PER_S

ARRIVALS_A_BLOCK = 4_096  # drawn at once: memory stays flat however long the run
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_DELAY_NS_MIN = 1_000  # a zero would disarm the timer


def arrivals_ns(seed: int, rate_per_s: float, duration_s: float) -> Iterator[int]:
    """Offsets of a Poisson process in ns, ascending, each below `duration_s`."""
    generator = np.random.default_rng(seed)
    end_ns = int(duration_s * NS_PER_S)
    last = 0.0
    while True:
        gaps = generator.exponential(NS_PER_S / rate_per_s, ARRIVALS_A_BLOCK)
        offsets = last + np.cumsum(gaps)
        last = float(offsets[-1])
        for offset in offsets.astype(np.int64).tolist():
            if offset >= end_ns:
                return
            yield offset


class TimerFd:
    """One Linux timer behind a file descriptor: event-loop timers are 1 ms coarse, this one is not."""

    __slots__ = ("_libc", "fd")

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")

    def arm(self, delay_ns: int) -> None:
        """Make `fd` readable once, `delay_ns` from now (at once if that is past)."""
        seconds, rest = divmod(max(delay_ns, _DELAY_NS_MIN), NS_PER_S)
        self._libc.timerfd_settime(self.fd, 0, struct.pack("qqqq", 0, 0, seconds, rest), None)

    def clear(self) -> None:
        """Take the expiry off `fd`; a wake-up without one is harmless."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)
