"""Prefect's `@task` for steps that asynchronous flows await and synchronous ones call."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task

from prefect_ltx.blocks.dispatch import called

P = ParamSpec("P")
R = TypeVar("R")


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
