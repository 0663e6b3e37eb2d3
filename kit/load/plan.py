"""Define the load of one run, with the bounds of each field, and read it strictly from JSON."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from kit.errors import UsageError
from kit.parameter_specs import RUN_PARAMETERS, ParameterSpec

SYMBOL = re.compile(r"[A-Z0-9.]{1,12}")
RUN_ID = re.compile(r"[A-Za-z0-9-]{1,40}")
MARKETS_MAX = 64


def _within(low: float | None, high: float | None, **default: Any) -> Any:
    return field(metadata={"low": low, "high": high}, **default)


def _as_run_parameter(name: str, **default: Any) -> Any:
    """Declare a field with the bounds of the run's parameter of that name."""
    spec = RUN_PARAMETERS[name]
    return _within(spec.lowest, spec.highest, **default)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What the clients do.

    The same plan gives the same operations on every machine, except for the cursors of reads of trades, which come from
    earlier answers. Ratios are shares, 0 to 1. `run_id` prefixes keys and order ids, so that PaperBroker does not take
    a second load against the same stack for retries of the first.
    """

    api_url: str
    markets: tuple[str, ...]
    run_id: str = "run"
    seed: int = _as_run_parameter("seed", default=1)
    rate_per_s: float = _as_run_parameter("rate_per_s", default=50.0)
    duration_max_s: float = _within(0.1, 86_400, default=3_600.0)
    busy_s: float = _within(0.1, 86_400, default=86_400.0)  # then nothing is sent for `idle_s`, and so on
    idle_s: float = _within(0, 86_400, default=0.0)
    clients: int = _within(2, 10_000, default=50)
    past_orders: int = _within(0, RUN_PARAMETERS["past_orders"].highest, default=0)  # in the ledger before the load
    past_seqs: tuple[int, ...] = ()  # the last seq of each market before the load; () if the ledger is empty
    resubmit_early_ratio: float = _within(0, 1, default=0.2)  # of orders and cancels: sent again within 0.2 s
    new_order_id_ratio: float = _within(0, 1, default=0.1)  # of orders that are sent again
    cancel_ratio: float = _within(0, 0.5, default=0.1)
    book_ratio: float = _within(0, 0.5, default=0.02)
    trades_ratio: float = _within(0, 0.5, default=0.01)
    market_ratio: float = _within(0, 1, default=0.05)  # of new orders: MARKET
    ioc_ratio: float = _within(0, 1, default=0.1)  # of the other new orders: LIMIT with IOC
    resubmit_ratio: float = _within(0, 1, default=0.05)  # of acknowledged orders; of cancels five times as many
    read_back_ratio: float = _within(0, 1, default=0.05)  # of acknowledged orders: their client reads them
    unauthorized_ratio: float = _within(
        0, 1, default=0.02
    )  # of acknowledged orders: another client tries to read or cancel them
    taken_order_id_ratio: float = _within(0, 1, default=0.02)  # of acknowledged orders: the id is sent under a new key
    malformed_ratio: float = _within(0, 1, default=0.06)  # of acknowledged orders: one follows that breaks the contract
    # of acknowledged orders: a read or cancel follows that breaks the contract
    malformed_request_ratio: float = _within(0, 1, default=0.06)
    contested_ratio: float = _within(0, 1, default=0.01)  # of acknowledged orders: two with one id follow at once
    asked_first_ratio: float = _within(0, 1, default=0.01)  # of acknowledged orders: one follows that is read before
    late_ratio: float = _within(0, 1, default=0.04)  # of acknowledged orders: read, cancelled or resubmitted much later
    late_s_max: float = _within(0.1, 86_400, default=20.0)  # how long after the acknowledgement
    past_ratio: float = _within(0, 1, default=0.06)  # of acknowledged orders: an order of the past is asked for
    subscribers_per_market: int = _within(0, 100, default=1)
    reconnect_every_s: float = _within(0, 3_600, default=0.0)  # the last subscriber of each market; 0 = never
    absent_s: float = _within(0, 3_600, default=0.0)  # a subscriber stays away for so long, then resumes; 0 = none
    slow_pause_s: float = _within(0, 3_600, default=0.0)  # a subscriber stops reading for so long; 0 = none
    # One reads this share of what the other subscribers of its market receive; 0 = none. It falls behind by more than
    # a buffer holds, although it never stops reading.
    trickle_share: float = _within(0, 0.99, default=0.0)
    replay_every_s: float = _within(0, 3_600, default=0.0)  # a new subscriber reads from the beginning; 0 = none
    visits_per_s: float = _within(0, 200, default=0.0)  # subscribers that take one event and leave, in all markets
    timeout_ms: int = _within(10, 60_000, default=2_000)
    attempts_max: int = _within(1, 20, default=4)  # retry budget: first attempt and retries of one operation
    connections_max: int = _within(1, 20_000, default=1_024)

    def __post_init__(self) -> None:
        """Raise UsageError for a wrong type or a value out of bounds; the message names field, value and limit."""
        for item in fields(self):
            if "low" in item.metadata:
                _spec(item).check(getattr(self, item.name))
        _check_url(self.api_url)
        _check_markets(self.markets)
        _check_past_seqs(self.past_seqs, self.markets)
        if not (isinstance(self.run_id, str) and RUN_ID.fullmatch(self.run_id)):
            raise UsageError(f"load plan: run_id={self.run_id!r} does not match {RUN_ID.pattern}")
        share = self.cancel_ratio + self.book_ratio + self.trades_ratio
        if share > 0.9:
            what = "cancel_ratio + book_ratio + trades_ratio"
            raise UsageError(f"load plan: {what} = {share} > 0.9, too few orders are left")
        if self.trickle_share and not self.subscribers_per_market:
            raise UsageError("load plan: trickle_share needs another subscriber: subscribers_per_market=0")

    def past_seq(self, symbol: str) -> int:
        """Return the last seq of a market before the load: where clients that know the past go on."""
        return self.past_seqs[self.markets.index(symbol)] if self.past_seqs else 0

    @property
    def host(self) -> str:
        return urlsplit(self.api_url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.api_url).port or 80

    @property
    def stream_url(self) -> str:
        """The address of the WebSocket API, without a path."""
        return f"ws://{urlsplit(self.api_url).netloc}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @property
    def digest(self) -> str:
        """The SHA-256 of the plan. Generators with the same digest send the same operations."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> LoadPlan:
        """Read a plan. Raises UsageError for unknown names, missing names and bad values."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise UsageError(f"load plan: not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise UsageError(f"load plan: must be a JSON object, not {type(raw).__name__}")
        known = {spec.name for spec in fields(cls)}
        if unknown := sorted(raw.keys() - known):
            raise UsageError(f"load plan: unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if missing := [name for name in ("api_url", "markets") if name not in raw]:
            raise UsageError(f"load plan: field {missing[0]!r} is missing")
        for name in ("markets", "past_seqs"):
            if isinstance(raw.get(name), list):
                raw[name] = tuple(raw[name])
        return cls(**raw)


def _spec(number: Field[Any]) -> ParameterSpec:
    return ParameterSpec(
        name=number.name, type=int if number.type == "int" else float, lowest=number.metadata["low"],
        highest=number.metadata["high"], subject="load plan:",
    )  # fmt: skip


def _check_url(url: object) -> None:
    if not isinstance(url, str):
        raise UsageError(f"load plan: api_url={url!r} must be text")
    try:
        parts = urlsplit(url)
        bad_port = parts.port == 0
    except ValueError as error:
        raise UsageError(f"load plan: api_url={url!r}: {error}") from error
    if parts.scheme != "http" or not parts.hostname or bad_port:
        raise UsageError(f"load plan: api_url={url!r} must be http://host[:port]")
    if parts.path not in ("", "/") or parts.query or parts.username:
        raise UsageError(f"load plan: api_url={url!r} must carry no path, query or user")


def _check_markets(markets: object) -> None:
    if not isinstance(markets, tuple) or not 1 <= len(markets) <= MARKETS_MAX:
        raise UsageError(f"load plan: markets={markets!r} must list 1 to {MARKETS_MAX} symbols")
    for symbol in markets:
        if not (isinstance(symbol, str) and SYMBOL.fullmatch(symbol)):
            raise UsageError(f"load plan: markets has {symbol!r}, which does not match {SYMBOL.pattern}")
    if len(set(markets)) != len(markets):
        raise UsageError(f"load plan: markets={markets!r} names a symbol twice")


def _check_past_seqs(seqs: object, markets: tuple[str, ...]) -> None:
    if not isinstance(seqs, tuple) or len(seqs) not in (0, len(markets)):
        raise UsageError(
            f"load plan: past_seqs={seqs!r} must be empty or list one number for each of {len(markets)} markets"
        )
    for seq in seqs:
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
            raise UsageError(f"load plan: past_seqs has {seq!r}, which is not a whole number of 0 or more")
