"""Draw the figures of a game day from tables.

Every figure has seconds since the load's start on the x axis and the fault as a shaded band. It has no title, because
the notebook's text says what it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

mpl.use("agg", force=False)

SIZE_IN = (9.0, 3.0)
FAULT_COLOUR = "#b3261e"
COLOURS = {"p50": "#2a9d8f", "p95": "#e9a23b", "p99": "#d1495b"}
STATE_COLOURS = {"OK": "#2a9d8f", "ALARM": "#b3261e", "INSUFFICIENT_DATA": "#b0b0b8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What all figures of one run share: start and end of the load and of the fault, in epoch seconds."""

    start: float
    end: float
    fault_start: float | None = None
    fault_end: float | None = None


def latency(seconds: pd.DataFrame, frame: Frame, *, limit_ms: float | None = None) -> Figure:
    """Draw latency percentiles. `seconds`: columns t (epoch s), p50_ms, p95_ms, p99_ms, one row a second."""
    figure, axes = _axes(frame, "latency, ms (from the intended send)")
    for name, colour in COLOURS.items():
        axes.plot(seconds["t"] - frame.start, seconds[f"{name}_ms"], color=colour, label=name, linewidth=1.4)
    if limit_ms is not None:
        axes.axhline(limit_ms, color="#555", linestyle="--", linewidth=1, label=f"limit p95 {limit_ms:g} ms")
    axes.set_yscale("log")
    axes.legend(ncols=4, fontsize=8, loc="upper left")
    return figure


def live(progress: Sequence[Mapping[str, float | None]], frame: Frame) -> Figure:
    """Plot the load's own counters while it runs. `seen`: its progress records in order."""
    figure, (above, below) = _two_axes(frame)
    at = [(one["t"] or 0.0) - frame.start for one in progress]
    for name, colour in (("ok", "#2a9d8f"), ("fail", "#e9a23b"), ("info", "#b3261e")):
        counts = [one[name] or 0 for one in progress]
        rates = [later - earlier for earlier, later in pairwise([0, *counts])]
        above.step(at, rates, where="pre", color=colour, label=name)
    above.set_ylabel("attempts since the last update")
    above.legend(ncols=3, fontsize=8, loc="upper left")
    known = [(t, one["p95_ms_last"]) for t, one in zip(at, progress, strict=True) if one["p95_ms_last"] is not None]
    below.plot([t for t, _ in known], [ms for _, ms in known], color=COLOURS["p95"])
    below.set_ylabel("p95, ms")
    return figure


def throughput(seconds: pd.DataFrame, frame: Frame) -> Figure:
    """Plot attempts a second by outcome. `seconds`: columns t, sent, ok, fail, info."""
    figure, axes = _axes(frame, "attempts a second")
    at = seconds["t"] - frame.start
    bottom = pd.Series(0, index=seconds.index)
    for name, colour in (("ok", "#2a9d8f"), ("fail", "#e9a23b"), ("info", "#b3261e")):
        axes.bar(at, seconds[name], bottom=bottom, width=1.0, align="edge", color=colour, label=name)
        bottom = bottom + seconds[name]
    axes.legend(ncols=3, fontsize=8, loc="upper left")
    return figure


def fills(orders_t: Sequence[float], fills_t: Sequence[float], first_fill: pd.DataFrame, frame: Frame) -> Figure:
    """Plot orders and fills by second, and time to first fill.

    `first_fill`: columns t, ms (one row per filled order).
    """
    figure, (above, below) = _two_axes(frame)
    for times, colour, label in ((orders_t, "#264653", "orders accepted"), (fills_t, "#e76f51", "fills")):
        counts = Counter(int(t - frame.start) for t in times)
        seconds = range(int(frame.end - frame.start) + 1)
        heights = [counts[second] for second in seconds]
        above.step(seconds, heights, where="post", color=colour, label=label, linewidth=1.3)
    above.set_ylabel("a second")
    above.legend(ncols=2, fontsize=8, loc="upper left")
    below.scatter(first_fill["t"] - frame.start, first_fill["ms"], s=3, color="#264653", alpha=0.5, rasterized=True)
    below.set_yscale("log")
    below.set_ylabel("time to first fill, ms")
    return figure


def tasks(samples: pd.DataFrame, frame: Frame) -> Figure:
    """Plot the running tasks of all services by zone. `samples`: columns t, zone, running."""
    figure, axes = _axes(frame, "running tasks")
    for (zone, rows), colour in zip(samples.groupby("zone"), ("#264653", "#e76f51", "#2a9d8f"), strict=False):
        axes.step(rows["t"] - frame.start, rows["running"], where="post", label=zone, color=colour, linewidth=1.6)
    axes.set_ylim(bottom=0)
    axes.legend(ncols=3, fontsize=8, loc="lower left")
    return figure


def alarms(histories: Mapping[str, Sequence[tuple[float, str]]], frame: Frame) -> Figure:
    """Draw alarm states. `histories`: alarm name → (epoch s, state) in order, the first at the frame's start."""
    figure, axes = _axes(frame, "", height_in=0.7 + 0.4 * max(1, len(histories)))
    for row, (_, changes) in enumerate(histories.items()):
        for index, (at, state) in enumerate(changes):
            until = changes[index + 1][0] if index + 1 < len(changes) else frame.end
            left = max(at, frame.start) - frame.start
            width = max(0.0, until - frame.start - left)
            axes.barh(row, width, left=left, color=STATE_COLOURS.get(state, "#555"), height=0.6)
    axes.set_yticks(range(len(histories)), list(histories))
    handles = [Patch(color=colour, label=state) for state, colour in STATE_COLOURS.items()]
    axes.legend(handles=handles, ncols=3, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.35), frameon=False)
    return figure


def _axes(frame: Frame, label: str, height_in: float = SIZE_IN[1]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(SIZE_IN[0], height_in), layout="constrained")
    axes = figure.add_subplot()
    _set_up(axes, frame)
    axes.set_ylabel(label)
    axes.set_xlabel("seconds since the load started")
    return figure, axes


def _two_axes(frame: Frame) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(SIZE_IN[0], 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes in (above, below):
        _set_up(axes, frame)
    below.set_xlabel("seconds since the load started")
    return figure, (above, below)


def _set_up(axes: Axes, frame: Frame) -> None:
    axes.set_xlim(0, frame.end - frame.start)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if frame.fault_start is not None:
        end = frame.fault_end if frame.fault_end is not None else frame.end
        axes.axvspan(frame.fault_start - frame.start, end - frame.start, color=FAULT_COLOUR, alpha=0.10, lw=0)
