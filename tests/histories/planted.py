"""One planted anomaly each: golden tables in, the same tables with one thing wrong out, and who must notice.

A plant is a small edit of the golden history, so that the check is not helped by anything else being odd.
"""

from __future__ import annotations

from tests.histories import planted_orders, planted_records, planted_swaps, planted_trades, planted_views

PLANTS = [
    *planted_orders.PLANTS.rows,
    *planted_trades.PLANTS.rows,
    *planted_records.PLANTS.rows,
    *planted_swaps.PLANTS.rows,
    *planted_views.PLANTS.rows,
]
