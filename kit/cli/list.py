"""`gameday list`: print the scenarios, the known bad changes and the suites."""

from __future__ import annotations

import argparse

from kit.process.terminal import say


def add_parser(commands: argparse._SubParsersAction) -> None:
    commands.add_parser("list", help="list scenarios, known bad changes and suites").set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Print one line for each."""
    from kit import gameday, suite

    for line in (*gameday.catalogue(), *suite.lines()):
        say(line)
    return 0
