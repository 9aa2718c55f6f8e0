"""One poller for many requests: each is asked about when it is likely to be done, and rarely otherwise.

How long a request takes is learned from those that have finished in this run. A request is asked about at
first near its expected end, then after pauses that grow, so that it costs a few questions whatever its length.
"""

import asyncio
import contextlib
import heapq
import itertools
from dataclasses import dataclass, field

from prefect_ltx.fal import QueueStatus
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.wait import Watch, outcome
from prefect_ltx.ledger import Generation

ASKED_AT_ONCE = 8
SHORTEST_SECONDS = 0.15
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_QUEUED_SECONDS = 300.0


class Pace:
    """When to ask, in seconds since the submit, for requests whose `size` is their expected length by price.

    `factor` is what the expectation has to be multiplied with. It follows the ends that were seen: one that was
    found at the first look may have come earlier, one that took several looks came later.
    """

    def __init__(self) -> None:
        self.factor = 1.0

    def first(self, size: float) -> float:
        """Seconds until the first question."""
        return max(SHORTEST_SECONDS, self.factor * size)

    def next(self, size: float, asked: int, *, queued: bool) -> float:
        """Seconds until the next question, after `asked` of them; one in the queue has its whole run ahead."""
        share = 0.6 if queued else 0.25
        pause = share * self.first(size) * 1.6 ** min(asked - 1, 30)
        longest = LONGEST_QUEUED_SECONDS if queued else LONGEST_PAUSE_SECONDS
        return min(max(SHORTEST_SECONDS, pause), max(longest, 0.25 * self.first(size)))

    def ended(self, size: float, seconds: float, asked: int) -> None:
        """Learn from a request that was found finished after `seconds`, at question number `asked`."""
        seen = seconds / size
        earlier = max(0.93 * self.factor, SHORTEST_SECONDS / size)
        self.factor = earlier if asked == 1 else 0.8 * self.factor + 0.2 * seen


class Poller:
    """Waits for any number of generations with one task; at most eight questions are under way at once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pace: dict[str, Pace] = {}
        self._due: list[_Turn] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(ASKED_AT_ONCE)
        self._loop: asyncio.Task[None] | None = None

    async def wait(self, generation: Generation) -> Generation:
        """As `wait_for`: until fal has the video and the ledger knows where it is.

        Raises:
            StillWaiting, FalValidationError, FalGenerationFailed, FalGenerationCancelled, PaidVideoLost,
            FalUnavailable: as `wait_for` does.
        """
        waiting = _Waiting(
            generation,
            Watch(self._services, generation, logs=False),
            self._pace.setdefault(generation.endpoint, Pace()),
            asyncio.get_running_loop().create_future(),
        )
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run())
        self._put(waiting, waiting.pace.first(waiting.size))
        try:
            return await waiting.end
        finally:
            waiting.end.cancel()

    async def aclose(self) -> None:
        """Stop asking. Nothing changes at fal."""
        tasks = [*self._asking, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for turn in self._due:
            turn.waiting.end.cancel()

    def _put(self, waiting: "_Waiting", seconds: float) -> None:
        heapq.heappush(
            self._due, _Turn(asyncio.get_running_loop().time() + seconds, next(self._numbers), waiting)
        )
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = self._due[0].at - asyncio.get_running_loop().time() if self._due else None
            if wait is None or wait > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                continue
            waiting = heapq.heappop(self._due).waiting
            if not waiting.end.done():
                task = asyncio.create_task(self._ask(waiting))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    async def _ask(self, waiting: "_Waiting") -> None:
        try:
            async with self._turn:
                if waiting.end.done():
                    return
                again = await self._asked(waiting)
        except Exception as error:
            if not waiting.end.done():
                waiting.end.set_exception(error)
            return
        if again is not None:
            self._put(waiting, again)

    async def _asked(self, waiting: "_Waiting") -> float | None:
        """Ask once; seconds until the next question, None once it has ended."""
        tell("while-polling", waiting.generation.id)
        waiting.asked += 1
        status: QueueStatus | None = await waiting.watch.ask()
        if status is not None and status.status == "COMPLETED":
            seconds = asyncio.get_running_loop().time() - waiting.began
            found = await waiting.watch.finish()
            if found is not None:
                waiting.pace.ended(waiting.size, seconds, waiting.asked)
                if not waiting.end.done():
                    waiting.end.set_result(outcome(found))
                return None
        queued = status is None or status.status == "IN_QUEUE"
        pause = waiting.pace.next(waiting.size, waiting.asked, queued=queued)
        return max(pause, waiting.watch.at_least)


@dataclass
class _Waiting:
    generation: Generation
    watch: Watch
    pace: Pace
    end: "asyncio.Future[Generation]"
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    asked: int = 0

    @property
    def size(self) -> float:
        return max(0.1, self.watch.expected)


@dataclass(order=True)
class _Turn:
    at: float
    number: int
    waiting: _Waiting = field(compare=False)
