"""One implementation for both kinds of Prefect user: it is awaited in asynchronous code, and simply called in a
synchronous flow or task, where nothing could await it.

Outside of a run nothing is guessed: a script says `asyncio.run(…)`, a notebook `await …`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect.context import FlowRunContext, TaskRunContext

P = ParamSpec("P")
R = TypeVar("R")


def either_way(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let an asynchronous function or method be called in a synchronous flow, where it gives its result at once."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return called(function(*args, **kwargs))

    return call


def called(work: Coroutine[Any, Any, R]) -> Coroutine[Any, Any, R]:
    """The coroutine where somebody can await it; in a synchronous flow or task it is run now, for its result."""
    if not _in_synchronous_run():
        return work
    return cast(Coroutine[Any, Any, R], asyncio.run(work))


def _in_synchronous_run() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return TaskRunContext.get() is not None or FlowRunContext.get() is not None
    return False
