"""Evidence, from elsewhere than FIS, that each action had its effect and that the effect went away.

One prover by action id; an action that has none leaves the fault unproven, and the run INVALID: FIS saying "completed"
proves nothing. FIS is believed only in when an action began and ended and which targets it resolved.
"""

from kit.faults.proofs.effect_checks import PROVERS, how_proven
from kit.faults.proofs.evidence_sources import WITNESSES
from kit.faults.proofs.experiment import proof_of, prove
from kit.faults.proofs.proof_context import Meters, Proof, Samples, Scene
from kit.faults.proofs.windows import SKEW_S

__all__ = [
    "PROVERS",
    "SKEW_S",
    "WITNESSES",
    "Meters",
    "Proof",
    "Samples",
    "Scene",
    "how_proven",
    "proof_of",
    "prove",
]
