"""Name clients, keys and orders so that an implementation that confuses two different names is detected.

The names use every character that PaperBroker accepts and the greatest length. Some pairs of names differ in case only,
or in their last character only. Some pairs of (client, key) are equal once both parts are joined by a separator, or
without one.
"""

from __future__ import annotations

LENGTH_MAX = 64  # the greatest length of an identifier that PaperBroker accepts
SEPARATORS = "-_.:"  # beside letters and digits, PaperBroker accepts these characters
LONG_EVERY = 4  # operations; the key has the greatest length
LONG_ORDER_ID_EVERY = 5


def client_name(number: int) -> str:
    """Return the name of a client. Names come in pairs that differ in case only, so that folding case is detected."""
    return f"{'cC'[number % 2]}{number // 2:03d}"


def is_client_name(name: str, clients: int) -> bool:
    """Return whether it is the name of one of the first `clients` clients."""
    if name[:1] not in ("c", "C") or not name[1:].isdecimal():
        return False
    number = 2 * int(name[1:]) + "cC".index(name[0])
    return number < clients and client_name(number) == name


def own_key(run_id: str, i: int) -> str:
    """Return the key that only operation i has. It begins with the run's id and a separator."""
    text = f"{run_id}{_separator(i)}k{i}"
    return text if i % LONG_EVERY else f"{text}{_separator(i)}".ljust(LENGTH_MAX, "0")


def own_order_id(run_id: str, i: int) -> str:
    """Return the id of the order that operation i sends."""
    text = f"{run_id}{_separator(i)}o{i}"
    return text if i % LONG_ORDER_ID_EVERY else f"{text}{_separator(i)}".ljust(LENGTH_MAX, "0")


def _separator(i: int) -> str:
    return SEPARATORS[i // LONG_EVERY % len(SEPARATORS)]


def similar(name: str) -> str:
    """Return a name that differs from a long one in its last character only, from a short one in case only."""
    return name[:-1] + "1" if len(name) == LENGTH_MAX else name.swapcase()


def renamed(order_id: str, number: int) -> str:
    """Return another order id for attempt `number`. A long id loses its last characters to the number."""
    suffix = f"-{number}"
    return order_id[: LENGTH_MAX - len(suffix)] + suffix


def moved_boundary(client_id: str, key: str, run_id: str) -> tuple[str, str]:
    """Return another (client, key) that reads the same as `client_id` + separator + `key` when joined.

    The separator is the character that follows the run's id in `key`.
    """
    head, separator, tail = run_id, key[len(run_id)], key[len(run_id) + 1 :]
    return f"{client_id}{separator}{head}", tail


def moved_character(client_id: str, key: str) -> tuple[str, str]:
    """Return another (client, key) that reads the same as `client_id` + `key` when joined without a separator."""
    return client_id + key[0], key[1:]
