"""Check effects by the health of the load balancer's targets, which TaskWatch sampled by subnet."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from kit.faults.proofs.proof_context import Action, Proof, ProofContext, every, healed_words, unproven
from kit.faults.proofs.windows import windows_of

# The load balancer needs two failed checks, 5 s apart and up to 2 s long, to notice that a target is gone.
DETECTION_S = 12.0
# During a short cut, this share of its time may pass before the targets must be unhealthy.
DETECTION_SHARE_MAX = 0.6
# A subnet counts as healthy before the cut if it was so within this time: one sample may be late.
BEFORE_S = 10.0
# Below this many samples after the detection time a cut is not proven.
SAMPLES_MIN = 3
NO_SAMPLES = "no samples of the load balancer's targets"


def prove_cut(context: ProofContext, action: Action) -> Proof:
    """Check that each chosen subnet had healthy targets before the action, none during it and healthy ones after it.

    Tasks that are only stopped are replaced and healthy again within the detection time. A cut without effect therefore
    differs from a real one even when tasks are stopped at the same time.
    """
    chosen = context.chosen(action)
    if context.samples is None or not chosen:
        return unproven(NO_SAMPLES if chosen else "no subnet was chosen")
    return every(_prove_subnet(context.samples.targets(), target["id"], action) for target in chosen)


def prove_fewer(context: ProofContext, action: Action) -> Proof:
    """Check that fewer targets in the chosen tasks' zones were healthy than ever before, and later as many again.

    Some samples must show it.
    """
    windows = windows_of(context, action)
    if context.samples is None or windows is None:
        return unproven(NO_SAMPLES if windows else "the action has not ended")
    zones = sorted({target["zone"] for target in context.chosen(action) if target["zone"]})
    if not zones:
        return unproven("no target names its zone")
    table = context.samples.targets()
    proofs = []
    for zone in zones:
        healthy = _healthy(table.loc[table["zone"] == zone])
        before = [n for t, n in healthy if windows.injected_at - BEFORE_S <= t <= windows.injected_at]
        known = [(t, n) for t, n in healthy if windows.force_start <= t <= windows.force_end + DETECTION_S]
        usual = min(before, default=0)
        fewer = [t for t, n in known if n < usual]
        if len(fewer) < SAMPLES_MIN:
            detail = f"{usual} healthy targets in {zone} before, fewer in {len(fewer)} of {len(known)} samples"
            proofs.append(unproven(f"load balancer: {detail}"))
            continue
        healed_at = min((t for t, n in healthy if t > max(windows.after_start, fewer[-1]) and n >= usual), default=None)
        least = min(n for _, n in known)
        words = f"load balancer: {least} instead of {usual} healthy targets in {zone}"
        healed = healed_words(healed_at, "healthy again")
        proofs.append(Proof(observed_at=fewer[0], healed_at=healed_at, detail=words + healed))
    return every(proofs)


def _prove_subnet(samples: pd.DataFrame, subnet: str, action: Action) -> Proof:
    healthy = _healthy(samples.loc[samples["subnet"] == subnet]) if len(samples) else []
    start, end = action["start"], action["end"]
    if end is None:
        return unproven(f"{subnet}: the cut has not ended")
    before = [count for t, count in healthy if start - BEFORE_S <= t < start]
    known_at = start + min(DETECTION_S, DETECTION_SHARE_MAX * (end - start))
    during = [count for t, count in healthy if known_at <= t <= end]
    if max(before, default=0) == 0:
        return unproven(f"{subnet}: no healthy target before the cut")
    if len(during) < SAMPLES_MIN:
        return unproven(f"{subnet}: {len(during)} samples < {SAMPLES_MIN} during the cut")
    if max(during) > 0:
        return unproven(f"{subnet}: {max(during)} healthy targets despite the cut")
    healed_at = min((t for t, count in healthy if t > end and count > 0), default=None)
    return Proof(
        observed_at=min(t for t, count in healthy if t >= start and count == 0),
        healed_at=healed_at,
        detail=f"load balancer: no healthy target in {subnet}" + healed_words(healed_at, "healthy again"),
    )


def _healthy(samples: pd.DataFrame) -> list[tuple[float, int]]:
    """Return (t, healthy targets) by time, all given subnets together."""
    counts: Counter[float] = Counter()
    for row in samples.to_dict("records"):
        if row["state"] == "healthy":
            counts[row["t"]] += row["count"]
    return sorted(counts.items())
