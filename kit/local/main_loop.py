"""Run functions on the thread of the event loop that serves AWS calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
from collections.abc import Callable
from typing import Any

# A worker thread waits at most this long for the loop to run its function.
CALL_S_MAX = 30.0

Function = Callable[..., Any]


def on_main_loop(function: Function) -> Function:
    """Decorate a function that reads or writes a store of MiniStack.

    The stores have no locks and belong to MiniStack's main loop, but CloudFormation and Lambda's queue pollers call
    from worker threads.
    """
    from ministack import app

    return on_loop(lambda: app._MAIN_LOOP, function)


def on_loop(loop_of: Callable[[], asyncio.AbstractEventLoop | None], function: Function) -> Function:
    """Decorate a function so that the loop's thread runs it, whichever thread calls it."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        loop = loop_of()
        if loop is None or not loop.is_running() or _is_running_here(loop):
            return function(*args, **kwargs)
        # The context holds the caller's account and Region.
        context = contextvars.copy_context()
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(context.run(function, *args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # raised in the thread that waits for the result
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        return done.result(CALL_S_MAX)

    return call


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
