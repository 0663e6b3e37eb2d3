"""Make the fixtures of `load_exchange` available to the tests of this folder."""

from tests.load.load_exchange import exchange_thread, short_delays

__all__ = ["exchange_thread", "short_delays"]
