"""Make the fixtures of `load_exchange` and `bucket` available to the tests of this folder."""

from tests.load.bucket import artifacts, bucket
from tests.load.load_exchange import exchange_thread, short_delays

__all__ = ["artifacts", "bucket", "exchange_thread", "short_delays"]
