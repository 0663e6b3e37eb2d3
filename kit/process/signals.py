"""Turn the signals that end a program into a request to stop in order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signal(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with the signal's name, for as long as the block lasts, instead of ending this process.

    A hang-up that is ignored stays ignored, so that `nohup gameday …` outlives its terminal. Main thread only.
    """

    def handle(number: int, _frame: object) -> None:
        stop(signal.Signals(number).name)

    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    handled = [number for number in STOP_SIGNALS if not (number == signal.SIGHUP and ignored)]
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
