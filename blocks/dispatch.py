"""One implementation for both kinds of Prefect user: it is awaited in asynchronous code, and simply called in a
synchronous flow or task, where nothing could await it.

Outside of a run nothing is guessed: a script says `asyncio.run(…)`, a notebook `await …`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
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


class EitherTask(Task[P, R]):
    """A task whose call gives a coroutine in asynchronous code, and its result in a synchronous flow."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task, as Prefect's own."""
        return called(cast(Any, Task.__call__)(self, *args, **kwargs))

    def with_options(self, **options: Any) -> Any:
        """See Prefect: the same task with other options."""
        changed = cast(Any, Task.with_options)(self, **options)
        changed.__class__ = type(self)
        return changed


def task(**options: Any) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """Prefect's `@task`, for a step that users call in flows of both kinds."""

    def made(function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        return EitherTask(function, **options)

    return made
