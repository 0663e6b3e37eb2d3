"""The `gameday` command: parse the arguments, run one command, turn errors into exit codes.

Exit codes: 0 PASS, 1 FAIL, 2 ABORTED, 3 INVALID, 4 wrong usage (nothing was started). `lint-template` returns 1 for
errors that it found. An error inside the kit, or Ctrl-C before anything was judged, is 3 and never 1.

Modules of commands import the rest of the kit inside their functions, so that `gameday --help` starts quickly.
"""

from __future__ import annotations

import argparse
import errno
import traceback
from collections.abc import Sequence
from typing import NoReturn

from kit.cli import check, child_processes, cloud, gate, golden, lint, pipeline, power, report, run, stop, suite
from kit.cli import list as list_command
from kit.errors import KitError, UnsafeTarget, UsageError
from kit.model import USAGE_EXIT_CODE, Verdict
from kit.process import terminal

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ELOOP})
COMMANDS = (run, suite, pipeline, power, check, gate, report, golden, cloud, stop, lint, list_command, child_processes)


class Parser(argparse.ArgumentParser):
    """Report wrong usage in one line, with exit code 4."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_EXIT_CODE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Exits with 4 when the arguments cannot be parsed."""
    terminal.prepare()
    try:
        args = _parser().parse_args(argv)
        return args.run(args)
    except (UsageError, UnsafeTarget) as error:
        # Guards refuse before anything is started; one that refuses later does so inside the notebook.
        terminal.warn(f"gameday: {terminal.one_line(error)}")
        return USAGE_EXIT_CODE
    except KitError as error:
        terminal.warn(f"gameday: {error}")
    except KeyboardInterrupt:
        terminal.warn("gameday: interrupted before anything was judged")
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            terminal.warn(_internal_error(error))
        else:
            terminal.warn(f"gameday: {error.filename or 'a file'} cannot be written: {error.strerror}")
    except Exception as error:  # noqa: BLE001
        # This is a defect of the kit. It gives no information about the build.
        terminal.warn(_internal_error(error))
    finally:
        terminal.write("")
    return Verdict.INVALID.exit_code


def _internal_error(error: Exception) -> str:
    return f"{traceback.format_exc()}gameday: internal error: {type(error).__name__}: {error}"


def _parser() -> Parser:
    parser = Parser(prog="gameday", description="Break PaperBroker on purpose, and judge what survived.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
