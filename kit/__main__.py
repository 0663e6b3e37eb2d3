"""`python -m kit` is the `gameday` command."""

import sys

from kit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
