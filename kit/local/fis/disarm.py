"""Disarm actions, to test that effect checks notice a fault that FIS reports but does not inject.

Write action ids, one per line, into `<state dir>/fis-disarm`. FIS then reports the start, the duration, the end and the
log of such an action as usual, but injects nothing. AWS has no such feature, and no game day uses it.
"""

from pathlib import Path

FILE_NAME = "fis-disarm"


def is_disarmed(state_dir: Path, action_id: str) -> bool:
    """Return whether an action that starts now must inject nothing."""
    try:
        return action_id in (state_dir / FILE_NAME).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
