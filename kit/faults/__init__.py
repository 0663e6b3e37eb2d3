"""Experiments of AWS FIS: preview, start, watch, stop; and the proof, apart from FIS, that a fault was there.

Owns the guards of a real account and the evidence; knows nothing of load or checks.
"""

from kit.faults.experiments import Experiment, preview, start, stop, stop_all, watch
from kit.faults.proofs import PROVERS, WITNESSES, how_proven, prove
from kit.faults.tasks import unexplained_stops

__all__ = [
    "PROVERS",
    "WITNESSES",
    "Experiment",
    "how_proven",
    "preview",
    "prove",
    "start",
    "stop",
    "stop_all",
    "unexplained_stops",
    "watch",
]
