"""Simulate one subscriber for each market, which receives each event once, in order, while connected."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.histories.clock import Clock
from tests.histories.tables import Row, streamed


@dataclass(slots=True)
class Subscribers:
    """`events` is the list of the exchange itself, which grows."""

    clock: Clock
    events: list[Row]
    connections: list[Row] = field(default_factory=list)
    stream: list[Row] = field(default_factory=list)
    open: dict[str, Row] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    def connect(self, market: str) -> None:
        if market in self.open:
            return
        number = sum(row["symbol"] == market for row in self.connections)
        row = {
            "subscriber": f"s-{market}",
            "connection": number,
            "symbol": market,
            "after_seq": self.received.get(market, 0),
        }
        row |= {
            "dialed_ns": self.clock.tick(),
            "opened_ns": self.clock.tick(),
            "closed_ns": 0,
            "close_code": 0,
            "error": "",
        }
        self.connections.append(row)
        self.open[market] = row
        self.deliver(market)

    def disconnect(self, market: str) -> None:
        row = self.open.pop(market, None)
        if row is not None:
            row |= {"closed_ns": self.clock.tick(), "close_code": 1006}

    def deliver(self, market: str) -> None:
        connection = self.open.get(market)
        if connection is None:
            return
        for event in self.events:
            if event["market"] == market and event["seq"] > self.received.get(market, 0):
                row = {"subscriber": connection["subscriber"], "connection": connection["connection"], "symbol": market}
                row |= {"seq": event["seq"], "received_ns": self.clock.tick(0.05), "event": streamed(event)}
                self.stream.append(row)
                self.received[market] = event["seq"]
