"""Prove, from evidence that is not from FIS, that each action had its effect and that the effect went away.

There is one effect check per action id. An action without one leaves the fault unproven, and the run INVALID: that FIS
says "completed" proves nothing. FIS is trusted only for when an action began and ended, and for its resolved targets.
"""

from kit.faults.proofs.effect_checks import EFFECT_CHECKS, how_proven
from kit.faults.proofs.evidence_sources import EVIDENCE_SOURCES
from kit.faults.proofs.experiment import proof_of, prove
from kit.faults.proofs.proof_context import Meters, Proof, ProofContext, Samples
from kit.faults.proofs.windows import SKEW_S

__all__ = [
    "EFFECT_CHECKS",
    "EVIDENCE_SOURCES",
    "SKEW_S",
    "Meters",
    "Proof",
    "ProofContext",
    "Samples",
    "how_proven",
    "proof_of",
    "prove",
]
