"""Wait for a submitted generation, and let a person who watches see how far it is."""

import asyncio
import logging
import time
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import QueueStatus
from prefect_ltx.generation import Services, cancel, hold, outcome, wait_for, with_price
from prefect_ltx.ledger import Generation, Owner, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.context import cancelled_by_person, current_owner, flow_run_id, run_logger
from prefect_ltx.tasks.handle import GenerationHandle
from prefect_ltx.tasks.policy import free_to_repeat

CANCEL_LOOK_SECONDS = 10
_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "WARNING": logging.WARNING}
"""Of fal's log lines; what a worker says of its work is for whoever looks at the details."""
CANCEL_BUDGET_SECONDS = 15


@task(
    name="await generation",
    cache_policy=NO_CACHE,
    retries=5,
    retry_delay_seconds=exponential_backoff(5),
    retry_jitter_factor=0.5,
    retry_condition_fn=free_to_repeat,
)
async def await_generation(
    handle: GenerationHandle, *, credentials: str = "", ledger: str = "", archive: str = ""
) -> GenerationHandle:
    """Wait until fal has the video of a submitted generation; fal's logs go to the run's log, at DEBUG.

    Waiting is free and may be interrupted and repeated at will; a worker that dies here loses nothing. Only a
    person's cancel of the flow run cancels the paid job.

    Args:
        handle: what `submit_generation` gave.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
        archive: name of a `VideoArchive` block; empty for the environment's archive.

    Raises:
        StillWaiting: the queue or run budget ran out; the job goes on and the next run or sweep collects it.
        FalValidationError, FalGenerationFailed, FalGenerationCancelled, GenerationEnded: it ended without a video.
        PaidVideoLost: fal made the video and no longer has it.
    """
    owner = current_owner()
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive)
    async with services_for(names) as services, hold(services, handle.generation_id, owner) as generation:
        if generation.state is State.SUBMITTED:
            generation = await _watched(services, generation, owner)
        elif generation.state is State.COMPLETED:
            generation = await with_price(services, generation)
        generation = outcome(generation)
        if generation.state is State.ARCHIVED:
            run_logger().info("Paid for and archived before: generation %s", generation.id)
            return GenerationHandle.of(generation)
        billed = generation.settled_usd
        price = "not billed yet" if billed is None else f"{dollars(billed)} billed"
        run_logger().info("fal has the video of generation %s: %s", generation.id, price)
        return GenerationHandle.of(generation)


async def _watched(services: Services, generation: Generation, owner: Owner) -> Generation:
    display = _Display(generation)
    showing = asyncio.create_task(display.show())
    waiting = asyncio.ensure_future(wait_for(services, generation, on_status=display.take))
    looking = asyncio.create_task(_until_cancelled(flow_run_id()))
    try:
        await asyncio.wait({waiting, looking}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            await _cancel_paid_job(services, generation, owner)
        return await waiting
    except asyncio.CancelledError:
        waiting.cancel()
        # The worker is being stopped or a person cancelled: only the run's state on the server tells.
        async with asyncio.timeout(CANCEL_BUDGET_SECONDS):
            if await asyncio.shield(cancelled_by_person(flow_run_id())):
                await asyncio.shield(_cancel_paid_job(services, generation, owner))
        raise
    finally:
        looking.cancel()
        showing.cancel()
        await asyncio.gather(looking, showing, return_exceptions=True)
        await display.finish()


async def _cancel_paid_job(services: Services, generation: Generation, owner: Owner) -> None:
    after = await cancel(services, generation.id, owner, by="flow run cancelled")
    run_logger().warning("Cancelled by a person: %s", told(after))


def told(generation: Generation) -> str:
    """What a cancel means for one generation and its money, in a line for the run's log."""
    name, held = f"Generation {generation.id}", dollars(generation.held_usd)
    if generation.state is State.CANCELLED and not generation.held_usd:
        return f"{name} was cancelled before it ran: it costs nothing"
    if generation.state is State.CANCELLED:
        return f"{name} was cancelled while it ran: it may be billed up to {held}, which the sweep settles"
    if generation.cancel_was_too_late:
        return f"{name} was finished before the cancel reached fal: it costs {held}, and the sweep archives its video"
    if generation.state is State.RELEASED:
        return f"{name} was not sent: it costs nothing"
    return (
        f"{name}: fal was asked to cancel it. Until fal says more it may be billed up to {held}; the sweep asks again, "
        "and archives the video if fal makes it"
    )


async def _until_cancelled(run_id: str | None) -> None:
    # A run that was started by hand is not killed when a person cancels it: it has to look for itself.
    while not await cancelled_by_person(run_id):  # noqa: ASYNC110 - the state lives on the server
        await asyncio.sleep(CANCEL_LOOK_SECONDS)


class _Display:
    """fal's log lines once each in the run's log; queue position and progress in one artifact a wait."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._log = run_logger()
        self._seen: set[tuple[str | None, str]] = set()
        self._place: str | None = None
        self._percent = 0.0
        self._began: float | None = None
        self._artifact: UUID | None = None
        self._expected = max(1.0, float(generation.price_expected_usd) * 166)

    def take(self, status: QueueStatus) -> None:
        """Note a status: called once a poll, and quick."""
        place = (
            f"in the queue, {status.queue_position} ahead"
            if status.status == "IN_QUEUE"
            else status.status.lower()
        )
        if place != self._place:
            self._log.debug("Generation %s is %s", self._generation.id, place.replace("_", " "))
            self._place = place
        for line in status.logs:
            mark = (line.timestamp, line.message)
            if mark not in self._seen:
                self._seen.add(mark)
                self._log.log(_LEVELS.get(line.level or "", logging.DEBUG), "fal: %s", line.message)
        if status.status == "IN_PROGRESS":
            self._began = self._began or time.monotonic()
            # fal gives no percentage: this is the time so far over the time such a clip usually takes.
            self._percent = min(95.0, 100 * (time.monotonic() - self._began) / self._expected)
        elif status.status == "COMPLETED":
            self._percent = 100.0

    async def show(self) -> None:
        """Keep the artifact up to date, once a second at most (an update costs the server 27 ms)."""
        shown = -1.0
        while True:
            await asyncio.sleep(1.0)
            # While it waits in the queue there is nothing to show: an artifact that stays at 0 would be left.
            if self._percent not in (shown, 0.0):
                shown = self._percent
                await self._put()

    async def finish(self) -> None:
        """The last state of the artifact, where one was begun."""
        if self._artifact is not None:
            await self._put()

    async def _put(self) -> None:
        what = f"Generation {self._generation.id}: {(self._place or 'waiting').replace('_', ' ')}"
        try:
            if self._artifact is None:
                key = f"ltx-progress-{self._generation.id[:12]}"
                self._artifact = await acreate_progress_artifact(self._percent, key=key, description=what)
            else:
                await aupdate_progress_artifact(self._artifact, self._percent, description=what)
        except Exception as error:  # a picture of the wait must never end the wait
            self._log.debug("Progress artifact: %s", type(error).__name__)


async def cancel_generations_of(services: Services, run_id: str, owner: Owner) -> list[Generation]:
    """Cancel every unfinished generation of a flow run; for the hook that runs after its process is dead."""
    found = await services.ledger.find(flow_run_id=run_id, live=True)
    return [
        await cancel(services, each.id, owner, by="flow run cancelled")
        for each in found
        if each.state in (State.INTENDED, State.UNKNOWN, State.SUBMITTED)
    ]
