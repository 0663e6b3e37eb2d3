"""The faults of scenarios, simulated in seconds and without ECS, a load balancer or FIS.

A fault prepares the environment of the processes, then starts and stops beside the load.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kit.model import Phase
from paperbroker.storage.clients import Clients
from tests.paperbroker.change_rig import Tasks
from tests.paperbroker.feature_flags import FlagStore
from tests.paperbroker.paperbroker_rig import REGION, Stage
from tests.paperbroker.tcp_proxy import TcpProxy

BEFORE_S = 5.0
# Longer than a matcher's messages stay invisible (5 s), and than the relay waits before it sends an entry (3 s).
FAULT_S = 10.0
SLOW_MS = 1500
WRITE_UNITS = 40


class SimulatedFault:
    """Base of the faults. `env` is added to each process's environment; clients go through `api_proxy` if there is one.

    `start` and `stop` do nothing here.
    """

    duration_s = FAULT_S
    api_proxy: TcpProxy | None = None

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.env: dict[str, str] = {}

    def start(self, tasks: Tasks) -> None: ...

    def stop(self, tasks: Tasks) -> None: ...

    def close(self) -> None: ...

    def run(self, tasks: Tasks, duration_s: float) -> Phase:
        """Start and stop the fault while a load runs; return the phase in between."""
        time.sleep(BEFORE_S)
        start = time.time()
        self.start(tasks)
        time.sleep(duration_s)
        end = time.time()
        self.stop(tasks)
        return Phase(name="during", start=start, end=end)


class NoFault(SimulatedFault):
    duration_s = 5.0


class SlowStore(SimulatedFault):
    """Delay intake's store calls by the feature flag that game days use."""

    def __init__(self, stage: Stage) -> None:
        self._flags = FlagStore(Clients(REGION).make("appconfig"), stage.settings.run_id)
        self._flags.deploy(0)
        self.env = self._flags.env

    def start(self, tasks: Tasks) -> None:
        self._flags.deploy(SLOW_MS)

    def stop(self, tasks: Tasks) -> None:
        self._flags.deploy(0)


class ThrottledOrders(SimulatedFault):
    """Limit the write capacity of the orders table."""

    def start(self, tasks: Tasks) -> None:
        self.stage.limit_order_writes(WRITE_UNITS)

    def stop(self, tasks: Tasks) -> None:
        self.stage.limit_order_writes(-1)


class LostQueue(SimulatedFault):
    """Blackhole the traffic between all processes and the queue."""

    def __init__(self, stage: Stage) -> None:
        endpoint = stage.env["AWS_ENDPOINT_URL"]
        self._proxy = TcpProxy(int(endpoint.rpartition(":")[2]))
        url = stage.settings.queue_url.replace(endpoint, self._proxy.endpoint)
        self.env = {"AWS_ENDPOINT_URL_SQS": self._proxy.endpoint, "PB_QUEUE_URL": url}

    def start(self, tasks: Tasks) -> None:
        self._proxy.blackholed.set()

    def stop(self, tasks: Tasks) -> None:
        self._proxy.blackholed.clear()

    def close(self) -> None:
        self._proxy.close()


class FrozenMatcher(SimulatedFault):
    """Suspend one matcher, with the messages that it holds and its long poll, then resume it."""

    def start(self, tasks: Tasks) -> None:
        tasks.matchers[0].popen.send_signal(signal.SIGSTOP)

    def stop(self, tasks: Tasks) -> None:
        tasks.matchers[0].popen.send_signal(signal.SIGCONT)


class LostConnections(SimulatedFault):
    """Break every connection of the clients and refuse new ones."""

    duration_s = 2.0

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.api_proxy = self._proxy = TcpProxy()

    def start(self, tasks: Tasks) -> None:
        self._proxy.refuse()

    def stop(self, tasks: Tasks) -> None:
        self._proxy.admit()

    def close(self) -> None:
        self._proxy.close()


# By scenario. For az-loss only the effect on stream subscribers is simulated.
FAULTS: dict[str, type[SimulatedFault]] = {
    "steady-state": NoFault,
    "az-loss": LostConnections,
    "api-latency": SlowStore,
    "data-throttling": ThrottledOrders,
    "dependency-loss": LostQueue,
    "matcher-freeze": FrozenMatcher,
}


@contextmanager
def simulated_fault(scenario: str, stage: Stage) -> Iterator[SimulatedFault]:
    """Make the scenario's fault, and close what it opened."""
    fault = FAULTS[scenario](stage)
    try:
        yield fault
    finally:
        fault.close()
