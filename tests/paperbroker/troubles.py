"""What scenarios do to a PaperBroker, in miniature: stand-ins without ECS, a load balancer or FIS, seconds each.

A trouble prepares the environment of the processes, then runs beside the load and says when it began and ended.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from kit.model import Phase
from paperbroker.storage.clients import Clients
from tests.paperbroker.change_rig import Exchange
from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.paperbroker_rig import REGION, BlackHole, Stage

# How long all is well, and how long it is not: longer than the lock on a matcher's messages (5 s), and than it takes
# until a lost event is the relay's (3 s).
CALM_S = 5.0
TROUBLE_S = 10.0
SLOW_MS = 1500
WRITE_UNITS = 40


class Trouble(Protocol):
    env: dict[str, str]
    lasts_s: float

    def begin(self, exchange: Exchange) -> None: ...

    def end(self, exchange: Exchange) -> None: ...


def endure(trouble: Trouble, exchange: Exchange, lasts_s: float) -> Phase:
    """Let it begin and end beside a load that runs; the phase in between."""
    time.sleep(CALM_S)
    start = time.time()
    trouble.begin(exchange)
    time.sleep(lasts_s)
    end = time.time()
    trouble.end(exchange)
    return Phase(name="during", start=start, end=end)


@dataclass
class Steady:
    """Nothing happens."""

    stage: Stage
    env: dict[str, str] = field(default_factory=dict)
    lasts_s: float = 5.0

    def begin(self, exchange: Exchange) -> None:
        """Nothing."""

    def end(self, exchange: Exchange) -> None:
        """Nothing."""


class SlowStore:
    """Intake's store calls take longer, by the feature flag that a game day uses, too."""

    lasts_s = TROUBLE_S

    def __init__(self, stage: Stage) -> None:
        self._flags = FlagStore(Clients(REGION).make("appconfig"), stage.settings.run_id)
        self._flags.deploy(0)
        self.env = self._flags.env

    def begin(self, exchange: Exchange) -> None:
        self._flags.deploy(SLOW_MS)

    def end(self, exchange: Exchange) -> None:
        self._flags.deploy(0)


class ThrottledOrders:
    """The orders table takes part of the writes."""

    lasts_s = TROUBLE_S

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.env: dict[str, str] = {}

    def _allow(self, units: int) -> None:
        table = self._stage.settings.tables.orders
        self._stage.dynamodb.update_table(TableName=table, OnDemandThroughput={"MaxWriteRequestUnits": units})

    def begin(self, exchange: Exchange) -> None:
        self._allow(WRITE_UNITS)

    def end(self, exchange: Exchange) -> None:
        self._allow(-1)


class LostQueue:
    """Nobody's bytes reach the queue."""

    lasts_s = TROUBLE_S

    def __init__(self, stage: Stage) -> None:
        endpoint = stage.env["AWS_ENDPOINT_URL"]
        self._hole = BlackHole(endpoint)
        url = stage.settings.queue_url.replace(endpoint, self._hole.endpoint)
        self.env = {"AWS_ENDPOINT_URL_SQS": self._hole.endpoint, "PB_QUEUE_URL": url}

    def begin(self, exchange: Exchange) -> None:
        self._hole.cut.set()

    def end(self, exchange: Exchange) -> None:
        self._hole.cut.clear()

    def close(self) -> None:
        self._hole.close()


@dataclass
class FrozenMatcher:
    """One matcher stands still with what it holds and with a long poll under way, then goes on."""

    stage: Stage
    env: dict[str, str] = field(default_factory=dict)
    lasts_s: float = TROUBLE_S

    def begin(self, exchange: Exchange) -> None:
        exchange.matchers[0].popen.send_signal(signal.SIGSTOP)

    def end(self, exchange: Exchange) -> None:
        exchange.matchers[0].popen.send_signal(signal.SIGCONT)


class LostConnections:
    """Every connection of the clients breaks, and for a while there is no new one."""

    lasts_s = 2.0

    def __init__(self, stage: Stage) -> None:
        self.env: dict[str, str] = {}
        self.door = Door()

    def begin(self, exchange: Exchange) -> None:
        self.door.shut()

    def end(self, exchange: Exchange) -> None:
        self.door.open()

    def close(self) -> None:
        self.door.close()


class Door:
    """A way to the api that can be shut: what is open then breaks."""

    def __init__(self) -> None:
        self.target = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._shut = threading.Event()
        self._through: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        self._shut.set()
        for side in list(self._through):
            with contextlib.suppress(OSError):  # its other end may have gone with the one before
                side.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._shut.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inbound, _ = self._listener.accept()
            except OSError:
                return
            if self._shut.is_set():
                inbound.close()
                continue
            outbound = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((inbound, outbound), (outbound, inbound)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        self._through.add(source)
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        finally:
            self._through.discard(source)


# The troubles that stand in for scenarios; of az-loss only what subscribers notice of it.
TROUBLES: dict[str, Any] = {
    "steady-state": Steady,
    "az-loss": LostConnections,
    "api-latency": SlowStore,
    "data-throttling": ThrottledOrders,
    "dependency-loss": LostQueue,
    "matcher-freeze": FrozenMatcher,
}


@contextmanager
def trouble_of(scenario: str, stage: Stage) -> Iterator[Any]:
    """The scenario's stand-in; what it opened is closed."""
    made = TROUBLES[scenario](stage)
    try:
        yield made
    finally:
        if hasattr(made, "close"):
            made.close()
