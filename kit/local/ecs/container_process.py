"""Start the process of a container, and find host ports for it."""

import contextlib
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kit.errors import KitError
from kit.local.processes import Process

# Host ports lie below the kernel's range for outgoing connections. Otherwise such a connection could take a task's
# port between its choice and the task's listen().
PORTS = range(15_000, 30_000)
PORT_TRIES_MAX = 200


class CannotStartContainer(KitError):
    """The container's command cannot be run on this machine."""


class PortsExhausted(KitError):
    """No free host port was found for a container port."""


def free_port(taken: set[int]) -> int:
    """Return a free port of 127.0.0.1 that is not in `taken`.

    It is drawn from the system's randomness, because two clouds with the same seed must not draw the same ports.
    """
    for _ in range(PORT_TRIES_MAX):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise PortsExhausted(f"no free port of 127.0.0.1 in {PORTS} after {PORT_TRIES_MAX} tries")


def resolve(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> list[str]:
    """Return `argv` with its program as an absolute path. `python` is the interpreter that runs this server."""
    if not argv:
        raise CannotStartContainer("no command specified")
    program = argv[0]
    if Path(program).name in ("python", "python3"):
        return [sys.executable, *argv[1:]]
    found = shutil.which(str(cwd / program) if program.startswith(".") else program, path=env.get("PATH"))
    if found is None:
        raise CannotStartContainer(f'exec: "{program}": executable file not found in $PATH')
    return [found, *argv[1:]]


async def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, marker: str) -> Process:
    """Start `argv` in `cwd` with exactly the environment `env`. Raises CannotStartContainer."""
    program = resolve(argv, env, cwd)
    try:
        return await Process.spawn(program, env=env, cwd=cwd, marker=marker)
    except OSError as error:
        raise CannotStartContainer(f"{argv[0]} in {cwd}: {error}") from error
