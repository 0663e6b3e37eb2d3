"""`python -m kit.local`: arguments → a served cloud → exit code. It decides nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.errors import CloudError, UsageError
from kit.model import USAGE_EXIT_CODE

# Stands for a machine of its own beside whatever else runs here; its tasks inherit it. See docs/adr/0006.
NICENESS = -10


def take_priority() -> bool:
    """Ask for more of the processors than ordinary programs get, for itself and its tasks.

    False where the user may not, and where the caller has chosen a niceness already.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; one clear line and 4 when it cannot start."""
    args = _parse(argv)
    take_priority()
    from kit.local.server import Settings, serve

    settings = Settings(state_dir=args.state_dir, port=args.port, seed=args.seed, region=args.region)
    try:
        return serve(settings)
    except (UsageError, CloudError) as error:
        sys.stderr.write(f"kit.local: {error}\n")
        return USAGE_EXIT_CODE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kit.local", description="Serve a local AWS on 127.0.0.1.")
    parser.add_argument("--state-dir", type=Path, required=True, help="folder for everything it writes")
    parser.add_argument("--port", type=_port, default=0, help="0 = any free port")
    parser.add_argument("--seed", type=int, default=1, help="seed of every random choice")
    parser.add_argument("--region", default="us-east-1")
    parser.exit_on_error = True
    try:
        return parser.parse_args(argv)
    except SystemExit as exit_:
        raise SystemExit(USAGE_EXIT_CODE if exit_.code else 0) from None


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError(f"port {port} is outside 0..65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
