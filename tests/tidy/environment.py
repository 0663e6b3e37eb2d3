"""Derive requirements-uv.lock and environment.yml from requirements.lock; `make lock` runs it, a test compares."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)( ; [^\\]+)?", re.MULTILINE)
NEVER = "sys_platform == 'never'"


def pins(lock: str) -> list[str]:
    """Every pin of a hashed lock as a requirement without hashes; packages that no platform installs are left out."""
    found = (match.group(0).strip() for match in PIN.finditer(lock))
    return [pin for pin in found if NEVER not in pin]


def environment_yml(lock: str) -> str:
    """The conda environment: python and pip from conda, every pin from the lock through pip."""
    lines = [
        "# Made by `make lock` from requirements.lock.",
        "name: paperbroker-gameday",
        "channels:",
        "  - conda-forge",
    ]
    lines += ["dependencies:", "  - python=3.11", "  - pip", "  - pip:"]
    lines += [f'      - "{pin}"' for pin in pins(lock)]
    return "\n".join(lines) + "\n"


def uv_lock(lock: str) -> str:
    """The one pin that set-up installs first: uv, with its hashes."""
    start = lock.index("\nuv==") + 1
    end = re.compile(r"\n(?=[^\s#])").search(lock, start)
    return lock[start : end.start() if end else len(lock)].rstrip() + "\n"


def main() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    (ROOT / "environment.yml").write_text(environment_yml(lock))
    (ROOT / "requirements-uv.lock").write_text(uv_lock(lock))


if __name__ == "__main__":
    main()
