"""One poller for many requests: each is followed closely while somebody waits for its slot, and rarely otherwise.

Closely: fal tells its end itself, on a status stream that is open all the while (fal-protocol §1.5). Where streams are
refused or cut, it is asked after pauses that are a small share of the time already waited.

Rarely: how long a request takes is learned from those that have finished in this run. A request is asked about at
first near its expected end, then after pauses that grow, so that it costs a few questions whatever its length. The
same questions, rarer still, are asked beside a stream: a connection may be dead without a sign.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from prefect_ltx.fal import FalError, QueueStatus
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.wait import Watch, outcome
from prefect_ltx.ledger import Generation

ASKED_AT_ONCE = 8
SHORTEST_SECONDS = 0.15
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_QUEUED_SECONDS = 300.0
FOLLOWED_AT_ONCE = 64
"""So many are followed whether a slot is wanted or not: whoever waits for the end of a batch waits for these."""
STREAMS_AT_ONCE = 256
CLOSE_SHARE = 0.08
"""The longest pause while a slot is at stake and there is no stream, as a share of the time already waited."""
STREAMS_PER_REQUEST = 4
_CUT_EARLY_SECONDS = 5.0
CUTS_TO_GIVE_UP = 3

logger = logging.getLogger("prefect_ltx.poller")


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

    def close(self, waited: float) -> float:
        """Seconds until the next question where a slot is at stake, after `waited` seconds."""
        return max(SHORTEST_SECONDS, CLOSE_SHARE * waited)

    def beside_stream(self, size: float, asked: int) -> float:
        """Seconds until the next question about one that is followed on a stream."""
        return min(max(30.0, 2.5 * self.first(size)) * 1.6 ** min(asked, 30), LONGEST_QUEUED_SECONDS)

    def ended(self, size: float, seconds: float, asked: int) -> None:
        """Learn from a request that was found finished after `seconds`, at question number `asked`."""
        seen = seconds / size
        earlier = max(0.93 * self.factor, SHORTEST_SECONDS / size)
        self.factor = earlier if asked == 1 else 0.8 * self.factor + 0.2 * seen


class Poller:
    """Waits for any number of generations with one task; at most eight questions are under way at once."""

    def __init__(self, services: Services, *, slot_wanted: Callable[[], bool] = lambda: False) -> None:
        """`slot_wanted`: whether somebody waits for one of these to end. Call `hurry` when that begins."""
        self._services = services
        self._slot_wanted = slot_wanted
        self._waiting: dict[_Waiting, None] = {}
        self._streams = 0
        self._early_cuts = 0
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
        self._waiting[waiting] = None
        self._follow(waiting)
        self._put(waiting, self._pause(waiting, waiting.pace.first(waiting.size)))
        try:
            return await waiting.end
        finally:
            waiting.end.cancel()
            self._waiting.pop(waiting, None)
            if waiting.stream is not None:
                waiting.stream.cancel()

    def hurry(self) -> None:
        """Somebody waits for a slot from now on: what was asked about rarely is followed closely."""
        for waiting in self._waiting:
            if waiting.stream is None:
                self._follow(waiting)
                pause = self._pause(waiting, LONGEST_PAUSE_SECONDS)
                self._put(waiting, max(pause, waiting.watch.at_least))

    async def aclose(self) -> None:
        """Stop asking. Nothing changes at fal."""
        streams = [each.stream for each in self._waiting if each.stream is not None]
        tasks = [*self._asking, *streams, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for turn in self._due:
            turn.waiting.end.cancel()

    def _put(self, waiting: "_Waiting", seconds: float) -> None:
        """Its next turn, in place of any earlier one."""
        waiting.turn = next(self._numbers)
        heapq.heappush(self._due, _Turn(_now() + seconds, waiting.turn, waiting))
        self._changed.set()

    @property
    def _is_close(self) -> bool:
        return len(self._waiting) <= FOLLOWED_AT_ONCE or self._slot_wanted()

    def _pause(self, waiting: "_Waiting", seconds: float) -> float:
        """Seconds until the next question, where `seconds` are right for one that nobody is in a hurry about."""
        if waiting.stream is not None:
            return waiting.pace.beside_stream(waiting.size, waiting.asked)
        if not self._is_close:
            return seconds
        waited = _now() - waiting.began
        # It will hardly end before a third of its expected time.
        return min(seconds, max(waiting.pace.close(waited), waiting.pace.first(waiting.size) / 3 - waited))

    def _follow(self, waiting: "_Waiting") -> None:
        """Open a stream for it, where one is worth it and streams work here."""
        if (
            waiting.stream is None
            and waiting.streams < STREAMS_PER_REQUEST
            and self._streams < STREAMS_AT_ONCE
            and self._early_cuts < CUTS_TO_GIVE_UP
            and self._is_close
        ):
            waiting.streams += 1
            waiting.stream = asyncio.create_task(self._followed(waiting))

    async def _followed(self, waiting: "_Waiting") -> None:
        """Bring its turn forward when fal says on the stream that it has ended, or when the stream breaks."""
        opened = _now()
        self._streams += 1
        try:
            waiting.told = await waiting.watch.follow()
            self._early_cuts = 0
        except FalError as error:
            # Once is a passing fault; a gateway that lets no stream through cuts each of them at once.
            if _now() - opened < _CUT_EARLY_SECONDS:
                self._early_cuts += 1
                if self._early_cuts == CUTS_TO_GIVE_UP:
                    logger.info("No status stream lasts here (%s); requests are asked about instead", error)
        finally:
            self._streams -= 1
            waiting.stream = None
        if waiting.told is None and _now() - opened >= _CUT_EARLY_SECONDS:
            self._follow(waiting)
        if not waiting.end.done():
            self._put(waiting, 0.0 if waiting.told else self._pause(waiting, SHORTEST_SECONDS))

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = self._due[0].at - _now() if self._due else None
            if wait is None or wait > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                continue
            turn = heapq.heappop(self._due)
            waiting = turn.waiting
            if turn.number == waiting.turn and not waiting.end.done() and not waiting.is_asked:
                waiting.is_asked = True
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
        finally:
            waiting.is_asked = False
        if again is not None:
            self._put(waiting, 0.0 if waiting.told else again)

    async def _asked(self, waiting: "_Waiting") -> float | None:
        """Ask once; seconds until the next question, None once it has ended."""
        tell("while-polling", waiting.generation.id)
        status, waiting.told = waiting.told, None
        if status is None:
            waiting.asked += 1
            status = await waiting.watch.ask()
        if status is not None and status.status == "COMPLETED":
            seconds = _now() - waiting.began
            found = await waiting.watch.finish()
            if found is not None:
                waiting.pace.ended(waiting.size, seconds, waiting.asked)
                if not waiting.end.done():
                    waiting.end.set_result(outcome(found))
                return None
        queued = status is None or status.status == "IN_QUEUE"
        if status is None or status.status != "COMPLETED":
            self._follow(waiting)
        pause = self._pause(waiting, waiting.pace.next(waiting.size, waiting.asked, queued=queued))
        return max(pause, waiting.watch.at_least)


@dataclass(eq=False)
class _Waiting:
    generation: Generation
    watch: Watch
    pace: Pace
    end: "asyncio.Future[Generation]"
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    asked: int = 0
    is_asked: bool = False
    turn: int = -1
    """The number of its only turn that counts."""
    stream: "asyncio.Task[None] | None" = None
    streams: int = 0
    """How many were opened for it."""
    told: QueueStatus | None = None
    """What the stream said at its end, until that is acted on."""

    @property
    def size(self) -> float:
        return max(0.1, self.watch.expected)


@dataclass(order=True)
class _Turn:
    at: float
    number: int
    waiting: _Waiting = field(compare=False)


def _now() -> float:
    return asyncio.get_running_loop().time()
