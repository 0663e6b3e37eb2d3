"""Hold what the scenarios have in common, so that each scenario shows only how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.scenarios.scenario import Scenario
from kit.slo.objectives import Availability, Metric, Objective

# The availability that clients are promised. A game day reports how much of its error budget the fault used.
AVAILABILITY_SLO = Availability(target=0.999, window_days=30)

STEADY_S = 15
CLIENTS = 40
RATE_PER_S = 48
BRIEF_STEADY_S = 8
# About as many events in each of two markets: for a full run more than one page of the store holds (1 MB, some 2,900
# events), for a brief one more than any page of PaperBroker. Each task reads the whole past once, so that a longer one
# would make the first seconds of a brief run slow.
PAST_ORDERS, BRIEF_PAST_ORDERS = 3_000, 600

LOAD: Mapping[str, Any] = {
    "resubmit_early_ratio": 0.2,
    "new_order_id_ratio": 0.1,
    "cancel_ratio": 0.1,
    "resubmit_ratio": 0.03,
    "read_back_ratio": 0.03,
    # So many that the shortest phase after a fault, three seconds at 32 operations a second, has six.
    "book_ratio": 0.04,
    "trades_ratio": 0.02,
    # One subscriber stays connected. The other one disconnects regularly and shows that a stream can be resumed.
    "subscribers_per_market": 2,
    "reconnect_every_s": 4.0,
    # In the last market a third subscriber stays away and resumes, and new ones read the ledger from its beginning.
    "absent_s": 9.0,
    "replay_every_s": 10.0,
    # In a brief run, whose load lasts some 31 s, they are more than all places of two tasks, 400.
    "visits_per_s": 15.0,
    "timeout_ms": 2_000,
}

# The smallest stack that can lose one task of each kind.
STACK: Mapping[str, str] = {
    "Markets": "ACME,BOLT",
    "ApiTasks": "2",
    "MatcherTasks": "2",
    "RelayTasks": "2",
}

STEADY_LIMITS: Mapping[Metric, float] = {Metric.LATENCY_MS_P95: 250, Metric.ERROR_RATE: 0.01}

# Every operation has a limit of its own.
OPERATION_LIMITS: Mapping[Metric, float] = {Metric.CANCEL_MS_P95: 250, Metric.DELIVERY_MS_P95: 1_000}
# Reads are as fast as this wherever no fault is in their way, however long the ledger is. In 28 brief runs of the `pr`
# suite's scenarios beside a process that kept one of two cores busy, p95 was at most 66 ms for orders and 183 ms for
# books and trades, during faults that do not touch reads and after all faults. The read of a market costs several reads
# of the store.
READ_LIMITS: Mapping[Metric, float] = {Metric.ORDER_READ_MS_P95: 250, Metric.MARKET_READ_MS_P95: 500}
# While one of two zones is impaired, more than half of the reads go through the other one, and are as fast there. In
# five brief runs of `network-impairment` the medians were at most 25 ms and 156 ms.
OTHER_ZONE_READ_LIMITS: Mapping[Metric, float] = {Metric.ORDER_READ_MS_P50: 250, Metric.MARKET_READ_MS_P50: 500}
# A read is not repeated. One that gets no answer counts as the clients' time-out of 2 s, and no read takes longer.
TIMED_OUT_READ_LIMITS: Mapping[Metric, float] = {Metric.ORDER_READ_MS_P95: 2_500, Metric.MARKET_READ_MS_P95: 2_500}

# After the fault no effect of it may remain: no slow answers, no errors, no lost order, no backlog of fills. In 30
# brief runs of the `pr` suite beside a process that kept one core busy, p95 of the first fill was at most 452 ms;
# orders that reach the queue only by the relay take 3.4 s.
HEALED_LIMITS: Mapping[Metric, float] = {
    **STEADY_LIMITS,
    **OPERATION_LIMITS,
    **READ_LIMITS,
    Metric.AVAILABILITY: 1.0,
    Metric.TIME_TO_FIRST_FILL_MS_P95: 2_500,
}


def scenario(
    *,
    during: Mapping[Metric, float],
    recovery: Mapping[Metric, float],
    guardrail_error_rate: float,
    guardrail_p95_ms: int,
    brief: Mapping[str, int],
    stack: Mapping[str, str] | None = None,
    load: Mapping[str, Any] | None = None,
    rate_per_s: int = RATE_PER_S,
    **fields: Any,
) -> Scenario:
    """Make a scenario from the defaults and what is particular to it.

    `during` and `recovery` map a metric to its limit in that phase. `stack`, `load` and `brief` add to the
    defaults. `fields`
    are the other fields of `Scenario`.
    """
    phases = {"before": STEADY_LIMITS, "during": during, "recovery": recovery, "after": HEALED_LIMITS}
    guardrails = {"GuardrailErrorRate": f"{guardrail_error_rate:g}", "GuardrailP95Ms": str(guardrail_p95_ms)}
    return Scenario(
        objectives=tuple(
            Objective(metric=metric, phase=phase, limit=limit)
            for phase, limits in phases.items()
            for metric, limit in limits.items()
        ),
        steady_s=STEADY_S,
        rate_per_s=rate_per_s,
        clients=CLIENTS,
        past_orders=PAST_ORDERS,
        load={**LOAD, **(load or {})},
        stack={**STACK, **(stack or {}), **guardrails},
        brief={"steady_s": BRIEF_STEADY_S, "past_orders": BRIEF_PAST_ORDERS, **brief},
        **fields,
    )
