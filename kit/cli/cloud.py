"""`gameday cloud`: keep a local AWS running between runs."""

from __future__ import annotations

import argparse

from kit.cli.arguments import add_option
from kit.parameter_specs import PORT, RUN_PARAMETERS
from kit.process.terminal import say

SEED_DEFAULT = 1


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("cloud", help="keep a local AWS running between runs")
    parser.add_argument("action", choices=("up", "status", "env", "down"))
    add_option(parser, PORT, default=PORT.default)
    add_option(parser, RUN_PARAMETERS["seed"], default=SEED_DEFAULT, help="of the local AWS's random choices")
    add_option(parser, RUN_PARAMETERS["region"], default=RUN_PARAMETERS["region"].default)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start the local AWS, stop it, or print whether it runs or the variables with which any AWS tool reaches it."""
    from kit import gameday

    for line in gameday.cloud(args.action, port=args.port, seed=args.seed, region=args.region):
        say(line)
    return 0
