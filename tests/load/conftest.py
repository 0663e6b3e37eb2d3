"""The fixtures of this folder; what they are made of lives in `load_exchange`."""

from tests.load.load_exchange import exchange_thread

__all__ = ["exchange_thread"]
