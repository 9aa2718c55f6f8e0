"""The queue: first come first served, so many at once, and every step of a job in the database before it
shows.

What a killed server left queued or running is taken up again when the next one starts on the same folder.
"""

import asyncio
import bisect
import json
import logging
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Literal

from starlette.requests import Request

from prefect_ltx.local import store as db
from prefect_ltx.local.errors import PlatformError
from prefect_ltx.local.job import Job
from prefect_ltx.local.rows import Outcome, RequestRow, to_json
from prefect_ltx.local.site import Site
from prefect_ltx.local.webhooks import Webhooks
from prefect_ltx.local.work import failure, perform

logger = logging.getLogger(__name__)

CancelAnswer = Literal["OK", "CANCELLATION_REQUESTED", "ALREADY_COMPLETED", "NOT_FOUND"]

_MOST_THREADS: Final = 64
_REQUEUE_PAUSE: Final = 0.3


class Jobs:
    """All unfinished requests of a site. Everything here runs in the event loop."""

    def __init__(self, site: Site, webhooks: Webhooks) -> None:
        """`start` has to be called in the event loop."""
        self._site = site
        self._webhooks = webhooks
        self._active: dict[str, Job] = {}
        self._queue: list[Job] = []
        self._running: set[Job] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="local-fal-render")
        self._stopping = False

    async def start(self) -> None:
        """Take up what the last server left, then serve."""
        loop = asyncio.get_running_loop()
        self._site.faults.on_change(lambda: _call_in(loop, self._faults_changed))
        for row in await self._site.store.call(db.unfinished):
            if row.direct:
                # Whoever was waiting on that connection is gone, and nobody can ask for it by id.
                await self._close(row, _error("client_disconnected", "The client disconnected"))
            elif row.cancel_requested:
                await self._close(row, _error("client_cancelled", "Request was cancelled by the client"))
            else:
                self._enqueue(row)
        self._pump()

    async def stop(self) -> None:
        """End renders at once and leave their requests to the next start."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        for job in self._active.values():
            job.interrupt.set()
            job.touch()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    def wake(self) -> None:
        """Let everybody who waits for a job look again."""
        for job in self._active.values():
            job.touch()

    def get(self, request_id: str) -> Job | None:
        """The request, if it is not finished."""
        return self._active.get(request_id)

    def position(self, job: Job) -> int:
        """How many wait before it."""
        return bisect.bisect_left(self._queue, job.order, key=lambda waiting: waiting.order)

    @property
    def waiting(self) -> int:
        """How many requests are in the queue."""
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether a direct run would have to wait."""
        return len(self._running) >= self._limit

    async def accept(self, rows: Sequence[RequestRow]) -> list[Job]:
        """Commit requests, then queue them (a direct run starts at once). Only after this may a reply be
        sent."""
        committed = await self._site.store.call(db.accept, rows)
        jobs = [self._enqueue(row) for row in committed]
        if any(
            self._site.faults.take("stuck_queue", endpoint=job.row.endpoint)
            for job in jobs
            if not job.row.direct
        ):
            for job in jobs:
                job.stuck = True
        for job in jobs:
            if job.row.direct and self._leave_queue(job):
                self._begin(job)
        self._pump()
        return jobs

    async def cancel(self, request_id: str, *, why: str = "client_cancelled") -> CancelAnswer:
        """fal's four answers (fal-protocol §1.7)."""
        job = self._active.get(request_id)
        if job is None:
            return (
                "NOT_FOUND"
                if await self._site.store.call(db.get, request_id) is None
                else "ALREADY_COMPLETED"
            )
        if self._leave_queue(job):
            await self._close(job.row, _error(why, "Request was cancelled by the client"), job)
            return "OK"
        await self._site.store.call(db.cancel_requested, request_id)
        if not self._site.faults.take("cancel_ignored", endpoint=job.row.endpoint):
            job.interrupt.set()
        return "CANCELLATION_REQUESTED"

    @property
    def _limit(self) -> int:
        knob = self._site.faults.value("concurrency")
        return self._site.concurrency if knob is None else max(int(knob), 0)

    def _enqueue(self, row: RequestRow) -> Job:
        job = Job(row, self._site.runtime)
        self._active[row.request_id] = job
        bisect.insort(self._queue, job, key=lambda waiting: waiting.order)
        if row.start_timeout is not None:
            left = row.submitted_at + row.start_timeout - self._site.now()
            loop = asyncio.get_running_loop()
            self._timers[row.request_id] = loop.call_later(max(left, 0), self._start_timed_out, job)
        return job

    def _pump(self) -> None:
        while not self._stopping and len(self._running) < self._limit:
            job = next((job for job in self._queue if not job.stuck), None)
            if job is None:
                return
            self._leave_queue(job)
            self._begin(job)

    def _begin(self, job: Job) -> None:
        job.state = "running"
        job.touch()
        self._running.add(job)
        self._spawn(self._run(job))

    def _leave_queue(self, job: Job) -> bool:
        """Whether it was waiting; it is not any more."""
        place = self.position(job)
        if place >= len(self._queue) or self._queue[place] is not job:
            return False
        del self._queue[place]
        for behind in self._queue[place:]:
            behind.touch()
        return True

    async def _run(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        request_id = job.row.request_id
        try:
            at = self._site.now()
            await self._site.store.call(db.started, request_id, at)
            job.row = replace(job.row, started_at=at)
            if self._site.faults.take("requeued", endpoint=job.row.endpoint):
                await self._go_back(job)
                return
            if timer := self._timers.pop(request_id, None):
                timer.cancel()
            row = await self._site.store.call(db.get, request_id) or job.row
            outcome = await perform(
                self._site, row, lambda text: _call_in(loop, job.log, text), job.interrupt, self._threads
            )
            if self._stopping:
                return
            # The last lines of a render thread are still on their way into the loop.
            await asyncio.sleep(0)
            await self._close(job.row, outcome, job)
        except Exception:
            # Ours, not the model's: a request must end all the same.
            logger.exception("the embedded fal failed on request %s", request_id)
            await self._close(job.row, _error("internal_error", "Internal error of the embedded fal"), job)
        finally:
            self._running.discard(job)
            self._pump()

    async def _go_back(self, job: Job) -> None:
        await asyncio.sleep(_REQUEUE_PAUSE)
        job.log("The runner was lost; the request goes back to the queue", "WARN")
        job.state = "queued"
        job.stuck = True
        bisect.insort(self._queue, job, key=lambda waiting: waiting.order)
        job.touch()
        # Long enough for somebody who polls to see it waiting.
        asyncio.get_running_loop().call_later(_REQUEUE_PAUSE, self._let_go, job)

    def _let_go(self, job: Job) -> None:
        job.stuck = False
        self._pump()

    async def _close(self, row: RequestRow, outcome: Outcome, job: Job | None = None) -> None:
        logs = to_json(job.logs) if job else "[]"
        price = self._site.billed_price(row)
        done = await self._site.store.call(
            db.finish, row, outcome, at=self._site.now(), unit_price=price, logs=logs
        )
        self._active.pop(row.request_id, None)
        if timer := self._timers.pop(row.request_id, None):
            timer.cancel()
        if job is not None:
            job.row = done
            job.state = "done"
            job.finished.set()
            job.touch()
        if done.webhook is not None:
            self._webhooks.schedule(done)

    def _start_timed_out(self, job: Job) -> None:
        self._timers.pop(job.row.request_id, None)
        if self._leave_queue(job):
            error = _error(
                "request_timeout",
                "Request did not start within the requested time",
                headers={"x-fal-request-timeout-type": "user"},
            )
            self._spawn(self._close(job.row, error, job))

    def _faults_changed(self) -> None:
        if not self._site.faults.is_listed("stuck_queue"):
            for job in self._queue:
                job.stuck = False
        self._pump()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def jobs_of(request: Request) -> Jobs:
    """The queue of the site that an HTTP request came to."""
    jobs: Jobs = request.app.state.jobs
    return jobs


def logs_of(row: RequestRow) -> list[dict[str, str]]:
    """The stored log of a finished request."""
    logs: list[dict[str, str]] = json.loads(row.logs)
    return logs


def _error(error_type: str, detail: str, *, headers: dict[str, str] | None = None) -> Outcome:
    return failure(PlatformError(error_type, detail, headers=headers))


def _call_in(loop: asyncio.AbstractEventLoop, function: Any, *args: Any) -> None:
    with suppress(RuntimeError):  # the loop may close while a render thread ends
        loop.call_soon_threadsafe(function, *args)
