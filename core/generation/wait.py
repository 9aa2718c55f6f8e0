"""Waiting for a submitted generation until fal has its video, and reading how it ended.

A job may sit in the queue for ever, so the time in the queue and the time of the run have budgets of their own.
There is no FAILED status: failure is COMPLETED with an error, or an error on the result (fal-protocol §1.4).
"""

import asyncio
import time
from collections.abc import Callable

from prefect_ltx.fal import (
    FalError,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalResultExpired,
    FalResultNotReady,
    FalUnavailable,
    FalValidationError,
    GenerationResult,
    QueueStatus,
    read_video,
)
from prefect_ltx.generation.billing import billed_usd
from prefect_ltx.generation.errors import StillWaiting, ended, lost, parked
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.generation.submit import CLOCK_SKEW
from prefect_ltx.ledger import (
    Generation,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ResultGone,
    State,
)

OnStatus = Callable[[QueueStatus], None]

SECONDS_PER_MEGAPIXEL = 0.4
"""fal took 63 to 68 s for 167 megapixels (ltx-model §1): only how often to ask depends on it."""
UNAVAILABLE_PATIENCE = 900.0
"""Seconds of fal being down that a wait sits out before the run stops (the job itself goes on)."""


async def wait_for(
    services: Services, generation: Generation, *, on_status: OnStatus | None = None
) -> Generation:
    """Wait until fal has the video, and write down where it is; at least COMPLETED. Idempotent.

    Raises:
        StillWaiting: the queue or run budget ran out; nothing is lost, the next run goes on.
        FalValidationError, FalGenerationFailed: fal ended the job with an error.
        FalGenerationCancelled: somebody cancelled it.
        PaidVideoLost: fal made it and no longer has it.
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


async def read_result(services: Services, generation: Generation) -> Generation | None:
    """Fetch the result of a completed job and record it, once fal answers; the row then, None before.

    Raises:
        FalValidationError, FalGenerationFailed, FalGenerationCancelled: after recording it.
        FalUnavailable: fal's result route is down; nothing is recorded (a 5xx is not a failed generation).
    """
    assert generation.request_id is not None
    record = services.ledger.record
    try:
        result = await services.client.result(generation.endpoint, generation.request_id)
    except FalResultNotReady:
        return None
    except FalGenerationCancelled as error:
        await in_thread(record, generation.id, RemoteCancelled(error.billed))
        raise
    except (FalValidationError, FalGenerationFailed) as error:
        await in_thread(record, generation.id, RemoteFailed(error.what, error.billed))
        raise
    except (FalResultExpired, FalNotFound) as error:
        return await find_again(services, generation, error)
    return await _record_video(services, generation, result)


async def with_price(services: Services, generation: Generation) -> Generation:
    """The completed generation with what fal bills for it: a webhook brought the video, and only the result route
    names the units. Where fal does not answer, the price is settled later and nothing changes.
    """
    if generation.state is not State.COMPLETED or generation.units is not None or not generation.request_id:
        return generation
    try:
        result = await services.client.result(generation.endpoint, generation.request_id)
    except FalError:
        return generation
    return await _record_video(services, generation, result)


async def find_again(services: Services, generation: Generation, error: FalError) -> Generation:
    """The result is gone by id: fal's listing may still hold its payload; else the video is lost, with its price."""
    try:
        result = await _from_listing(services, generation)
    except FalError as also:
        if isinstance(also, FalUnavailable):
            raise
        result = None  # this key may not list requests
    if result is None:
        return await in_thread(services.ledger.record_and_get, generation.id, ResultGone(error.what))
    return await _record_video(services, generation, result)


async def _from_listing(services: Services, generation: Generation) -> GenerationResult | None:
    start = generation.created_at - CLOCK_SKEW
    async for each in services.client.list_requests(
        generation.endpoint, start=start, end=None, request_id=generation.request_id, expand_payloads=True
    ):
        if each.request_id == generation.request_id and each.json_output:
            return GenerationResult(
                video=read_video(each.json_output),
                billable_units=None,
                request_id=each.request_id,
            )
    return None


async def _record_video(services: Services, generation: Generation, result: GenerationResult) -> Generation:
    video, units = result.video, result.billable_units
    recorded = await in_thread(
        services.ledger.record_and_get,
        generation.id,
        RemoteCompleted(
            video_url=video.video.url,
            seed=video.seed,
            prompt=video.prompt,
            file_size=video.video.file_size,
            units=units,
            usd=await billed_usd(services, generation, units),
        ),
    )
    tell("after-completed", generation.id, "fal has the video")
    return recorded


class Watch:
    """The clock of one wait: how long it may go on, and when to ask next."""

    def __init__(self, services: Services, generation: Generation, *, logs: bool = True) -> None:
        """The queue budget runs from now; `logs`: whether fal's log lines are asked for."""
        self._services = services
        self._generation = generation
        self.expected = float(generation.price_expected_usd) / 0.0024075 * SECONDS_PER_MEGAPIXEL
        self._logs = logs
        self._began = time.monotonic()
        self._running_since: float | None = None
        self._down_since: float | None = None
        self._pause = 0.2

    async def ask(self) -> QueueStatus | None:
        """The status, or None while fal cannot be asked."""
        self._check_budgets()
        assert self._generation.request_id is not None
        try:
            status = await self._services.client.status(
                self._generation.endpoint, self._generation.request_id, logs=self._logs
            )
        except FalNotFound as error:
            outcome(await find_again(self._services, self._generation, error))
            return QueueStatus(status="COMPLETED", request_id=self._generation.request_id)
        except FalUnavailable as error:
            self._sit_out(error)
            return None
        self._down_since = None
        # A job may go back to the queue when fal retries it: its run starts over then.
        self._running_since = (
            (self._running_since or time.monotonic()) if status.status == "IN_PROGRESS" else None
        )
        return status

    async def finish(self) -> Generation | None:
        """Read the result of the completed job and return the row; None while fal does not give it."""
        try:
            return await read_result(self._services, self._generation)
        except FalUnavailable as error:
            self._sit_out(error)
            return None

    def _sit_out(self, error: FalUnavailable) -> None:
        now = time.monotonic()
        self._down_since = self._down_since or now
        if now - self._down_since > UNAVAILABLE_PATIENCE:
            raise error

    def pause(self, status: QueueStatus | None) -> float:
        """Seconds until the next question: short at first and near the expected end, longer in between."""
        most = self._services.options.poll_most
        self._pause = min(self._pause * 1.3, most)
        if self._running_since is None or status is None:
            return self._pause
        left = self.expected - (time.monotonic() - self._running_since)
        return self._pause if left > most else min(self._pause, 1.0)

    def _check_budgets(self) -> None:
        now = time.monotonic()
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
