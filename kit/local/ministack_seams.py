"""MiniStack's private names that we rely on or correct, in one place. Written below."""


def install() -> None:
    """Correct MiniStack in this process."""
