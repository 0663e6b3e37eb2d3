"""Check what clients saw, phase by phase, against the scenario's objectives; and check the load generator itself.

Pure functions on tables (`kit.model` columns). No samples, a missing column or a clock that went backwards is INVALID,
never a pass.
"""

from kit.slo.budget import error_budget
from kit.slo.denials import broken_by_denials
from kit.slo.evaluate import STEADY_PHASE, evaluate, steady_state
from kit.slo.generator import LAG_MS_P99_MAX, generator, lag_ms_max
from kit.slo.objectives import Metric, Objective
from kit.slo.samples import first_attempts, first_orders, is_error, latency_ms, per_second, within
from kit.slo.windows import recovery_s

__all__ = [
    "LAG_MS_P99_MAX",
    "STEADY_PHASE",
    "Metric",
    "Objective",
    "broken_by_denials",
    "error_budget",
    "evaluate",
    "first_attempts",
    "first_orders",
    "generator",
    "is_error",
    "lag_ms_max",
    "latency_ms",
    "per_second",
    "recovery_s",
    "steady_state",
    "within",
]
