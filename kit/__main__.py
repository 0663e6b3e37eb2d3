"""Start the `gameday` command; `python -m kit` does the same.

A kit that cannot even be imported exits with 3 (INVALID), because Python's own exit code for that, 1, means FAIL.
"""

import sys
import traceback

INVALID = 3


def main() -> int:
    """Run the command and return its exit code."""
    try:
        from kit.cli.main import main as run_command
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        sys.stderr.write(f"gameday: internal error: {type(error).__name__}: {error}\n")
        return INVALID
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
