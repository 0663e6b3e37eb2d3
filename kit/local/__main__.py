"""Serve a local AWS: `python -m kit.local`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.errors import CloudError, UsageError
from kit.model import USAGE_EXIT_CODE

# The local AWS takes the place of other machines, so it gets more CPU time than ordinary programs. Tasks inherit this
# niceness; see docs/adr/0006.
NICENESS = -10


def take_priority() -> bool:
    """Raise the priority of this process and its tasks.

    Return False if the user may not, or if the caller has set a niceness already.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. If the start fails, print one line and return 4."""
    args = _parse(argv)
    take_priority()
    from kit.local.server import Settings, serve

    settings = Settings(
        state_dir=args.state_dir, kept_dir=args.kept_dir, port=args.port, seed=args.seed, region=args.region
    )
    try:
        return serve(settings)
    except (UsageError, CloudError) as error:
        sys.stderr.write(f"kit.local: {error}\n")
        return USAGE_EXIT_CODE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kit.local", description="Serve a local AWS on 127.0.0.1.")
    parser.add_argument("--state-dir", type=Path, required=True, help="folder for all files of the local AWS")
    parser.add_argument("--kept-dir", type=Path, help="folder for what outlives the state dir (default: the state dir)")
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1 (0: any free port)")
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
