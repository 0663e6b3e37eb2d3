"""Actions that are made to do nothing, behind the back of whoever runs the experiment: a rehearsal of proofs.

An operator writes action ids, one a line, into `<state dir>/fis-disarm`. From then on FIS runs such an action as ever,
start, duration, end and log, but it injects nothing. Whoever believes FIS alone is then deceived; proof of effect must
not be, and this is how that is tried. AWS has nothing of the kind, and no game day uses it.
"""

from pathlib import Path

FILE_NAME = "fis-disarm"


def is_disarmed(state_dir: Path, action_id: str) -> bool:
    """Whether this action is to do nothing; asked when it starts."""
    try:
        return action_id in (state_dir / FILE_NAME).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
