"""An event loop without an outside: its time jumps, what is ready runs in an order drawn from the seed, and every
handle belongs to a simulated process, which can die or be stopped.

Built on async-solipsism's loop, which has the virtual time and says when nothing can wake up again. What asyncio would
do in a thread is a handle of its own here: it runs between others, and one after another where its executor has one
thread. A process that died never runs again: its tasks are kept until the history is over, so that nothing of theirs
is unwound by garbage collection.
"""

import asyncio
import contextvars
import heapq
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import async_solipsism
from async_solipsism.exceptions import SleepForeverError

T = TypeVar("T")

_STEP_MICROSECONDS = 2
MOST_STEPS = 60_000
"""More than any history takes that comes to an end."""
PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("simulated_process")


class Killed(BaseException):
    """The process that runs this dies here."""


class WorldOver(BaseException):
    """The history has ended; whatever still runs is unwound."""


class Spinning(Exception):
    """Something goes on for ever."""


class OneThread(Executor):
    """Stands for an executor with one thread: what is given to it runs in order, each in a handle of the loop that
    runs. Outside of a loop it runs at once."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except Killed:
                return
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            process = current()
            if process is not None:
                process.moment("call")

        loop = asyncio._get_running_loop()
        if not isinstance(loop, SimulatedLoop):
            run()
            return future
        if loop.over:
            raise asyncio.CancelledError
        self._waiting.append(run)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next, loop)
        return future

    def _next(self, loop: "SimulatedLoop") -> None:
        self._waiting.popleft()()
        if self._waiting:
            loop.call_soon(self._next, loop)
        else:
            self._busy = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to stop."""


@dataclass(eq=False)
class Process:
    """One operating system process of the simulated world."""

    name: str
    dead: bool = False
    stopped: bool = False
    deferred: list[asyncio.Handle] = field(default_factory=list)
    """What waits until it is continued."""
    dies_at: dict[str, int] = field(default_factory=dict)
    """What kind of moment, and the how manieth of it, it dies at."""
    met: dict[str, int] = field(default_factory=dict)
    writes: bool = False
    """Whether its open transaction is a writer's."""
    commits: int = 0
    fails_commit: int = 0
    """The how manieth COMMIT of a writer fails."""
    on_death: Callable[["Process", str], None] | None = None
    pid: int = 0
    executor: OneThread = field(default_factory=OneThread)

    def context(self) -> contextvars.Context:
        """A context in which everything belongs to this process."""
        context = contextvars.Context()
        context.run(PROCESS.set, self)
        return context

    def moment(self, kind: str) -> bool:
        """A moment of this kind has come; whether the process dies at it."""
        if kind not in self.dies_at:
            return False
        count = self.met[kind] = self.met.get(kind, 0) + 1
        if not self.dead and self.dies_at.get(kind) == count:
            self.die(f"{kind} {count}")
            return True
        return False

    def die(self, where: str) -> None:
        """End here: nothing of it runs any more."""
        self.dead = True
        self.deferred.clear()
        if self.on_death is not None:
            self.on_death(self, where)


def current() -> Process | None:
    """The process whose code runs now."""
    return PROCESS.get(None)


class _Handle(asyncio.Handle):
    """asyncio's, without what only its debug mode needs."""

    def __init__(
        self, callback: Any, args: Any, loop: "SimulatedLoop", context: contextvars.Context | None
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class SimulatedLoop(async_solipsism.EventLoop):
    """See the module."""

    def __init__(self, shuffle: Random | None = None) -> None:
        """`shuffle` draws the order of what is ready; None keeps asyncio's own."""
        super().__init__()
        self.shuffle = shuffle
        self.over = False
        self.steps = 0
        self._microseconds = 0
        self.graves: list[asyncio.Handle] = []
        """What processes that died would have run next; unwound at the very end."""
        self._futures: list[asyncio.Future[Any]] = []
        self._ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._kept_task)
        self.set_exception_handler(lambda *_: None)  # of the dead, and of what is unwound at the end

    # -- time and order --------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the history began."""
        return self._microseconds * 1e-6

    def advance(self, seconds: float) -> None:
        """Let time pass while something blocks."""
        self._microseconds += max(round(seconds * 1e6), 0)

    def _run_once(self) -> None:
        """asyncio's round, without an outside to wait for: time jumps to the next timer where nothing is ready, and
        each handle that is ready is chosen."""
        ready, scheduled = self._ready, self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if not ready and not self._stopping:
            if not scheduled:
                raise SleepForeverError("nothing can wake up any more")
            self._microseconds = max(self._microseconds, math.ceil(scheduled[0]._when * 1e6))
        due = self._microseconds * 1e-6 + 1e-6
        while scheduled and scheduled[0]._when < due:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = self._chosen()
            if handle is not None and not handle._cancelled:
                handle._run()

    def _chosen(self) -> asyncio.Handle | None:
        """The next handle; None where its process does not run it."""
        ready, shuffle = self._ready, self.shuffle
        if shuffle is not None and len(ready) > 1:
            at = int(shuffle.random() * min(len(ready), 16))
            if at:
                ready[0], ready[at] = ready[at], ready[0]
        handle = ready.popleft()
        self.steps += 1
        # Work takes time: a timer that is early by less than the clock can tell would else be set again for ever.
        self._microseconds += _STEP_MICROSECONDS
        if self.steps > MOST_STEPS and not self.over:
            raise Spinning(f"{MOST_STEPS} steps, the last of them {handle!r}")
        process = handle._context.get(PROCESS)
        if process is None or self.over:
            return handle
        if process.dead:
            self.graves.append(handle)
            return None
        if process.stopped:
            process.deferred.append(handle)
            return None
        if process.dies_at and process.moment("step"):
            self.graves.append(handle)
            return None
        return handle

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """asyncio's, without its debug mode."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    # -- what lives in it ------------------------------------------------------------------------------------

    @staticmethod
    def _kept_task(loop: "SimulatedLoop", coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=loop, **options)
        loop.tasks.append(task)
        if len(loop.tasks) > 400:
            loop.tasks = [each for each in loop.tasks if not each.done()]
        return task

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> Any:  # type: ignore[override]
        """A handle of its own in place of a thread."""
        if isinstance(executor, OneThread):
            return asyncio.wrap_future(executor.submit(func, *args), loop=self)
        future: asyncio.Future[T] = self.create_future()
        process = current()
        if self.over:
            future.set_exception(asyncio.CancelledError())
            return future

        def run() -> None:
            try:
                result = func(*args)
            except Killed:
                return
            except WorldOver:
                future.cancel()
            except BaseException as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)
            if process is not None:
                process.moment("call")

        self.call_soon(run)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """There are no threads."""
        return self.call_soon(callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """What somebody waits for, until it is unwound."""
        future = asyncio.Future(loop=self)
        self._futures.append(future)
        if len(self._futures) > 1000:
            self._futures = [each for each in self._futures if not each.done()]
        return future

    def start(self, process: Process, coroutine: Any) -> "asyncio.Task[Any]":
        """Run a coroutine as part of a process."""
        return self.create_task(coroutine, context=process.context())

    def resume(self, process: Process) -> None:
        """Continue a process that was stopped."""
        process.stopped = False
        waiting, process.deferred = process.deferred, []
        self._ready.extend(waiting)

    def finish(self) -> None:
        """Unwind whatever is left, so that nothing of it is unwound later, and close."""
        self.over = True
        self.shuffle = None
        self._ready.extend(self.graves)
        for _ in range(20):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                break
            for future in list(self._futures):
                future.cancel()
            for task in left:
                task._log_destroy_pending = False
                task.cancel()
            try:
                self.run_until_complete(asyncio.sleep(0))
                self.run_until_complete(asyncio.sleep(0))
            except SleepForeverError:
                break
        self.tasks.clear()
        self._ready.clear()
        self._scheduled.clear()
        self.close()
