"""Test that signals become requests to stop. The tests signal their own process."""

import os
import signal

import pytest

from kit.process.signals import STOP_SIGNALS, stop_on_signal


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_calls_back_and_the_earlier_handler_returns(number):
    before, names = signal.getsignal(number), []
    with stop_on_signal(names.append):
        os.kill(os.getpid(), number)
    assert names == [number.name] and signal.getsignal(number) is before


def test_an_ignored_hang_up_stays_ignored():
    """The hang-up is ignored under nohup, for example."""
    before, names = signal.signal(signal.SIGHUP, signal.SIG_IGN), []
    try:
        with stop_on_signal(names.append):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert names == []
