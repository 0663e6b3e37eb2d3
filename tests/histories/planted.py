"""List all planted anomalies with the checks that must find them.

Each is a small edit of a correct history, so that a check cannot find it by anything else.
"""

from __future__ import annotations

from tests.histories import (
    planted_answers,
    planted_metrics,
    planted_orders,
    planted_records,
    planted_swaps,
    planted_trades,
    planted_views,
    planted_visits,
)

PLANTS = [
    *planted_orders.PLANTS.rows,
    *planted_trades.PLANTS.rows,
    *planted_records.PLANTS.rows,
    *planted_swaps.PLANTS.rows,
    *planted_views.PLANTS.rows,
    *planted_visits.PLANTS.rows,
    *planted_metrics.PLANTS.rows,
    *planted_answers.PLANTS.rows,
]
