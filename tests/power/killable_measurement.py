"""Resume a power measurement of fake runs in a process of its own, which a test can kill: REPORTS SOURCE CHANGES."""

import sys
from pathlib import Path

from kit import power
from tests.suite.suite_rig import COMMAND


def main() -> None:
    reports, source, changes = map(Path, sys.argv[1:])
    session = power.reopen("latest", reports=reports, jobs="2", source=source, changes_dir=changes)
    power.Measurement(session, say=lambda line: None, command=COMMAND, source=source).run()


if __name__ == "__main__":
    main()
