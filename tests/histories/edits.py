"""Edit recorded tables to plant anomalies, and register which checks must find each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kit.model import ATTEMPT_COLUMNS, LEDGER_EVENT_COLUMNS

Tables = dict[str, Any]
Plant = Callable[[Tables], None]


@dataclass(frozen=True, slots=True)
class Plants:
    """The planted anomalies of one module, in its order, each with the checks that must fail on it."""

    rows: list[tuple[Plant, tuple[str, ...]]] = field(default_factory=list)

    def caught_by(self, *names: str) -> Callable[[Plant], Plant]:
        """Register that each of the named checks must fail on the decorated anomaly."""

        def add_plant(plant: Plant) -> Plant:
            self.rows.append((plant, names))
            return plant

        return add_plant


def add(tables: Tables, name: str, columns: dict[str, str], row: dict[str, Any]) -> None:
    """Append a row. Missing columns are 0 or ""."""
    full = {column: row.get(column, "" if kind == "string" else 0) for column, kind in columns.items()}
    more = pd.DataFrame({column: pd.Series([full[column]], dtype=kind) for column, kind in columns.items()})
    tables[name] = pd.concat([tables[name], more], ignore_index=True)


def add_event(tables: Tables, row: dict[str, Any], **changes: Any) -> None:
    """Append a ledger event at the end of its market."""
    events = tables["events"]
    market = events[events["market"] == (changes | row)["market"]]
    end = {"seq": market["seq"].max() + 1, "ts_ns": market["ts_ns"].max() + 1000}
    add(tables, "events", LEDGER_EVENT_COLUMNS, {**row, **end, **changes})


def add_attempt(tables: Tables, row: dict[str, Any]) -> None:
    """Append an attempt at the end of the history."""
    now = int(tables["attempts"][["completed_ns", "late_ns"]].to_numpy().max()) + 10**9
    times = {"intended_ns": now, "invoked_ns": now, "completed_ns": now + 1000, "late_ns": 0, "late_status": 0}
    add(tables, "attempts", ATTEMPT_COLUMNS, {"op_id": len(tables["attempts"]), "kind": "first"} | row | times)


def add_read(tables: Tables, order: str, **fields: Any) -> None:
    """Append a GET of the order, by its own client."""
    owner = tables["orders"].set_index("order_id")["client_id"].get(order, "")
    row = {"op": "get_order", "order_id": order, "client_id": owner, "outcome": "ok", "status": 200}
    add_attempt(tables, row | fields)


def renumber(tables: Tables) -> None:
    """Close the gaps that dropped events left in the sequence of each market."""
    events = tables["events"].sort_values(["market", "seq"], ignore_index=True)
    tables["events"] = events.assign(seq=events.groupby("market").cumcount() + 1)


def rows(tables: Tables, name: str, **wanted: Any) -> Any:
    table = tables[name]
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def row(tables: Tables, name: str, **wanted: Any) -> dict[str, Any]:
    return rows(tables, name, **wanted).iloc[0].to_dict()


def change(tables: Tables, name: str, index: int, **values: Any) -> None:
    for column, value in values.items():
        tables[name].loc[index, column] = value


def change_first(tables: Tables, name: str, where: dict[str, Any], **values: Any) -> None:
    change(tables, name, rows(tables, name, **where).index[0], **values)


def drop(tables: Tables, name: str, index: Any) -> None:
    tables[name] = tables[name].drop(index=index).reset_index(drop=True)
