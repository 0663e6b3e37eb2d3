"""Plant subscribers that are sent away as soon as they have connected."""

from __future__ import annotations

from kit.model import CONNECTION_COLUMNS, NS_PER_S, PLANNED_RECONNECT, VISITOR
from tests.histories import edits
from tests.histories.edits import Plants, Tables

PLANTS = Plants()
TRY_ELSEWHERE, INTERNAL_ERROR = 1013, 1011
VISIT_NS = NS_PER_S // 12


def visit(tables: Tables, *codes: int, lasts_ns: int = NS_PER_S // 100) -> None:
    """Append one visit for each close code, at the end of the history."""
    connections = tables["connections"]
    dialed_ns = int(connections[["opened_ns", "closed_ns"]].to_numpy().max())
    for number, code in enumerate(codes):
        dialed_ns += VISIT_NS
        times = {"dialed_ns": dialed_ns, "opened_ns": dialed_ns + 1000, "closed_ns": dialed_ns + 1000 + lasts_ns}
        row = {"subscriber": f"s-ACME{VISITOR}", "connection": number, "symbol": "ACME", "close_code": code}
        edits.add(tables, "connections", CONNECTION_COLUMNS, row | times)


@PLANTS.caught_by("subscribers-find-places")
def tasks_are_full_after_a_hundred_visits(tables: Tables) -> None:
    visit(tables, *[PLANNED_RECONNECT] * 100, *[TRY_ELSEWHERE] * 40)


@PLANTS.caught_by("subscribers-find-places")
def three_of_four_visitors_are_closed_with_an_error(tables: Tables) -> None:
    visit(tables, *[INTERNAL_ERROR, INTERNAL_ERROR, PLANNED_RECONNECT, INTERNAL_ERROR] * 20)
