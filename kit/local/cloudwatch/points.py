"""Keep the points of one metric in arrays. As MiniStack's dicts they take more than ten times the memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

Point = dict[str, Any]

# Members of a point that are numbers and have arrays of their own. A point without a count counts once.
_COUNT = "Count"
_STATISTICS = "_stat"


class Points:
    """The points of one metric, in the order of their arrival. Reads like MiniStack's list of dicts.

    All points of a metric have the same dimensions. `Unit` is the only text, and has few values.
    """

    __slots__ = ("_at", "_counts", "_dimensions", "_statistics", "_unit_of", "_units", "_values")

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._at, self._values, self._counts = array("d"), array("d"), array("d")
        self._unit_of = array("H")
        self._units: list[Any] = []
        self._dimensions: Any = None
        # Statistic sets, by the position of their point.
        self._statistics: dict[int, Any] = {}
        for point in points:
            self.append(point)

    def append(self, point: Point) -> None:
        """Add the newest point."""
        if not self._at:
            self._dimensions = point.get("Dimensions")
        if _STATISTICS in point:
            self._statistics[len(self._at)] = point[_STATISTICS]
        unit = point.get("Unit")
        if unit not in self._units:
            self._units.append(unit)
        self._unit_of.append(self._units.index(unit))
        self._at.append(point["Timestamp"])
        self._values.append(point["Value"])
        self._counts.append(point.get(_COUNT, -1.0))

    def units(self) -> list[str]:
        """Return the units of the points."""
        return [unit or "None" for unit in self._units]

    def at(self, position: int) -> float:
        """Return the time of a point."""
        return self._at[position]

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[Point]:
        return (self[position] for position in range(len(self._at)))

    def __getitem__(self, position: int) -> Point:
        point: Point = {
            "Timestamp": self._at[position],
            "Unit": self._units[self._unit_of[position]],
            "Dimensions": self._dimensions,
            "Value": self._values[position],
        }
        if self._counts[position] >= 0:
            point[_COUNT] = self._counts[position]
        if position in self._statistics:
            point[_STATISTICS] = self._statistics[position]
        return point
