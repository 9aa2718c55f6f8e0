"""Waiting for a submitted generation until fal has its video, and reading how it ended.

A job may sit in the queue for ever, so the time in the queue and the time of the run have budgets of their own.
There is no FAILED status: failure is COMPLETED with an error, or an error on the result (fal-protocol §1.4).
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from prefect_ltx.fal import FalError, FalNotFound, FalRateLimited, FalUnavailable, QueueStatus
from prefect_ltx.generation.asking import (
    find_again,
    next_word_after,
    question_about,
    read_result,
    settle_unsaid,
    with_price,
)
from prefect_ltx.generation.errors import StillWaiting, ended, fails_to_say, lost, no_request, parked
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation, State
from prefect_ltx.ledger.life.evidence import Question

__all__ = ["OnStatus", "Watch", "outcome", "wait_for", "with_price"]

OnStatus = Callable[[QueueStatus], None]

SECONDS_PER_MEGAPIXEL: Final = 0.4
"""fal took 63 to 68 s for 167 megapixels (ltx-model §1): only how often to ask depends on it."""
UNAVAILABLE_PATIENCE: Final = 900.0
"""Seconds of fal being down that a wait sits out before the run stops (the job itself goes on)."""
DOWN_PAUSES: Final = (1.0, 60.0)
"""The first and the longest pause between two questions while fal does not answer itself."""
_SHARE_OF_DELAY: Final = 0.25
"""A job that is late is seen no later than this share of its delay after its end."""
UNSAID_SECONDS: Final = (20.0, 300.0)
"""After how long without an answer about a finished request its end is looked for in fal's listing; then doubled."""


async def wait_for(
    services: Services, generation: Generation, *, on_status: OnStatus | None = None
) -> Generation:
    """Wait until fal has the video, and write down where it is; at least COMPLETED. Idempotent.

    Raises:
        StillWaiting: the queue or run budget ran out, or fal fails to say how it ended; the next run goes on.
        FalValidationError, FalGenerationFailed: fal ended the job with an error.
        FalGenerationCancelled: somebody cancelled it.
        PaidVideoLost: fal said twice, minutes apart, that it no longer has what it made.
        FalUnavailable: fal could not be asked for a quarter of an hour; the job goes on.
    """
    watch = Watch(services, generation)
    while generation.state is State.SUBMITTED:
        tell("while-polling", generation.id)
        status = await watch.ask()
        if status is not None:
            if on_status is not None:
                on_status(status)
            if status.status == "COMPLETED" and (found := await watch.finish()) is not None:
                generation = found
                continue
        await asyncio.sleep(watch.pause(status))
    return outcome(generation)


def outcome(generation: Generation) -> Generation:
    """The generation if it has a video; else the error that says how it ended."""
    if generation.state is State.LOST:
        raise lost(generation)
    if generation.state is State.PARKED:
        raise parked(generation)
    if not generation.is_live:
        raise ended(generation)
    return generation


class Watch:
    """The clock of one wait: how long it may go on, and when to ask next."""

    def __init__(self, services: Services, generation: Generation, *, logs: bool = True) -> None:
        """The queue budget runs from now; `logs`: whether fal's log lines are asked for."""
        self._services = services
        self._generation = generation
        self.expected = float(generation.price_expected_usd) / 0.0024075 * SECONDS_PER_MEGAPIXEL
        self._logs = logs
        self._began = asyncio.get_running_loop().time()
        self._running_since: float | None = None
        self._down_since: float | None = None
        self._down_pause = DOWN_PAUSES[0]
        self._unsaid_at = UNSAID_SECONDS[0]
        self._pause = 0.2
        self.at_least = 0.0
        """Seconds that must pass before the next question, whatever the pace."""

    async def ask(self) -> QueueStatus | None:
        """The status, or None while fal cannot be asked, or where it says that it does not know the request."""
        self._check_budgets()
        self.at_least = 0.0
        request_id = self._generation.request_id
        if request_id is None:
            raise no_request(self._generation)
        question = question_about(self._services, self._generation)
        try:
            status = await self._services.client.status(
                self._generation.endpoint, request_id, logs=self._logs
            )
        except FalNotFound as error:
            return await self._not_found(question, error)
        except (FalUnavailable, FalRateLimited) as error:
            self._sit_out(error)  # too many questions say nothing about the job
            return None
        self.note(status)
        return status

    async def follow(self) -> QueueStatus:
        """The status of the job's end, told by fal when it comes: one stream in place of many questions.

        Raises:
            FalError: the stream was refused or broke. It says nothing about the job: go on with `ask`.
        """
        request_id = self._generation.request_id
        if request_id is None:
            raise no_request(self._generation)
        stream = self._services.client.stream_status(self._generation.endpoint, request_id, logs=False)
        async with aclosing(stream):
            async for status in stream:
                self.note(status)
                if status.status == "COMPLETED":
                    return status
        raise FalUnavailable(f"The status stream of {request_id} ended before it was COMPLETED")

    def note(self, status: QueueStatus) -> None:
        """Take in what fal said of the job, in an answer or in an event of a stream."""
        if status.status != "COMPLETED":
            self._answered()
        # A job may go back to the queue when fal retries it: its run starts over then.
        self._running_since = (
            (self._running_since or asyncio.get_running_loop().time())
            if status.status == "IN_PROGRESS"
            else None
        )

    async def finish(self) -> Generation | None:
        """Read the result of the completed job and return the row; None while fal does not give it."""
        try:
            found = await read_result(self._services, self._generation)
        except FalRateLimited as error:
            self._sit_out(error)
            return None
        except FalUnavailable as error:
            return await self._unsaid(error)
        self._answered()
        if found is not None and found.state is State.SUBMITTED:
            # fal said once that it is gone: it is asked again when its second word counts.
            self.at_least = next_word_after(self._services)
            return None
        return found

    def pause(self, status: QueueStatus | None) -> float:
        """Seconds until the next question: short at first and near the expected end, longer in between, and longer
        again the later the end is."""
        most = self._services.options.poll_most
        self._pause = min(self._pause * 1.3, most)
        if self._running_since is None or status is None:
            return max(self._pause, self.at_least)
        left = self.expected - (asyncio.get_running_loop().time() - self._running_since)
        shortest = self._pause if left > most else max(1.0, -left * _SHARE_OF_DELAY)
        return max(min(self._pause, shortest), self.at_least)

    async def _not_found(self, question: Question, error: FalError) -> QueueStatus | None:
        try:
            found = await find_again(self._services, question, self._generation, "status", error)
        except FalUnavailable as unavailable:
            self._sit_out(unavailable)
            return None
        if found.state is State.SUBMITTED:
            self.at_least = next_word_after(self._services)
            return None
        self._generation = outcome(found)
        return QueueStatus(status="COMPLETED", request_id=found.request_id or "")

    async def _unsaid(self, error: FalError) -> Generation | None:
        """fal calls it finished, and its result route gives no answer of its own."""
        now = asyncio.get_running_loop().time()
        self._down_since = self._down_since or now
        if now - self._down_since >= self._unsaid_at:
            self._unsaid_at += min(self._unsaid_at, UNSAID_SECONDS[1])
            try:
                found = await settle_unsaid(self._services, self._generation, error)
            except FalUnavailable as unavailable:
                error = unavailable
            else:
                if found.state is not State.SUBMITTED:
                    return found
                self._generation = found
        if now - self._down_since > UNAVAILABLE_PATIENCE and self._generation.looks:
            raise fails_to_say(self._generation) from error
        self._sit_out(error)
        return None

    def _answered(self) -> None:
        self._down_since, self._down_pause, self._unsaid_at = None, DOWN_PAUSES[0], UNSAID_SECONDS[0]

    def _sit_out(self, error: FalError) -> None:
        now = asyncio.get_running_loop().time()
        self._down_since = self._down_since or now
        if now - self._down_since > UNAVAILABLE_PATIENCE:
            raise error
        self.at_least = self._down_pause
        self._down_pause = min(self._down_pause * 1.6, DOWN_PAUSES[1])

    def _check_budgets(self) -> None:
        now = asyncio.get_running_loop().time()
        options = self._services.options
        if self._running_since is not None:
            name, spent, budget = "run", now - self._running_since, options.run_timeout
        else:
            name, spent, budget = "queue", now - self._began, options.queue_timeout
        if spent > budget:
            raise StillWaiting(
                f"Generation {self._generation.id} (fal request {self._generation.request_id}) is still at fal after "
                f"{spent:.0f} s in its {name} phase, the budget of this run. It goes on there and will be billed "
                "once: run the same request again, or `prefect-ltx sweep`, to collect it.",
                self._generation,
            )
