"""One POST for one generation: intend, send once, and look where the answer was lost.

This is the only module that calls `FalClient.submit`. It does so in one place, directly after the ledger gave
the permission, and never because of an error.
"""

import asyncio
import logging
import math
from contextlib import AsyncExitStack, suppress

from prefect_ltx.fal import FalError, FalNotSent
from prefect_ltx.generation.accounts import bought_elsewhere
from prefect_ltx.generation.asking import ask_about_lost, question_about, trust
from prefect_ltx.generation.behind import refuse_ledger_behind_archive
from prefect_ltx.generation.errors import ended, lost, not_recorded, parked
from prefect_ltx.generation.kept import forget_kept, keep_request_id, kept_request
from prefect_ltx.generation.lease import BUSY_POLL_SECONDS, keep
from prefect_ltx.generation.looking import look_again, look_for
from prefect_ltx.generation.options import callback_url
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import (
    Accepted,
    Event,
    Generation,
    LeaseLost,
    LedgerError,
    NotSent,
    Owner,
    Plan,
    PostNotPermitted,
    ReplyLost,
    State,
)
from prefect_ltx.ledger.life.evidence import what_it_proves

logger = logging.getLogger("prefect_ltx.generation")


async def submit_once(
    services: Services, plan: Plan, owner: Owner, *, stay: AsyncExitStack | None = None
) -> Generation:
    """The generation for `plan`, submitted now or found: at least SUBMITTED, with at most one POST ever sent.

    The lease is given back at the end; with `stay` a caller who goes on with the row keeps it until then.

    Raises:
        BudgetExceeded: the price does not fit the budget; nothing was sent.
        LedgerBehindArchive: the archive holds videos that the ledger does not know; nothing was sent.
        FalError: fal refused the request or could not be reached; nothing ran, the budget is released.
        GenerationParked: nobody can tell whether an earlier submit was accepted.
        AcceptedNotRecorded: fal accepted it and the ledger cannot be written; the id is kept.
        PaidVideoLost: this very video was paid for before and fal, asked again now, no longer has it.
        AccountUnclear: nobody can tell whose account the key is of; nothing was sent or spent.
    """
    await _refuse_unclear(services, plan)
    await refuse_ledger_behind_archive(services, (plan.key, *plan.older_keys))
    pause, longest = BUSY_POLL_SECONDS
    while True:
        tell("before-intent", "")
        claim = await services.ledger.claim(plan, owner, services.limits)
        generation = claim.generation
        match claim.outcome:
            case "submit" | "resume":
                try:
                    async with AsyncExitStack() as own:
                        await (stay or own).enter_async_context(keep(services, generation.id, owner))
                        if claim.outcome == "submit":
                            return await _post_once(services, generation, owner)
                        return await settle_submit(services, generation, owner)
                except (PostNotPermitted, LeaseLost):
                    # Somebody else has it now, or cancelled it: nothing more is sent from here.
                    generation = await services.ledger.get(generation.id)
                    if generation.cancel_requested and not generation.is_live:
                        raise ended(generation) from None
                    await asyncio.sleep(pause)
            case "done":
                return generation
            case "busy" if generation.state not in (State.INTENDED, State.UNKNOWN):
                return generation
            case "busy":
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, longest)
            case "parked":
                return await look_again(services, generation, owner)
            case "lost":
                generation = await ask_about_lost(services, generation)
                if generation.state is State.LOST:
                    raise lost(generation)
            case "refused":
                raise ended(generation)
            case "closed":
                continue  # its last owner released it this moment: claim again


async def _refuse_unclear(services: Services, plan: Plan) -> None:
    services.identity.check()
    if not plan.keys_elsewhere:
        return
    ours = await services.ledger.find(key=plan.key, live=True)
    theirs = await services.ledger.find(keys=plan.keys_elsewhere, live=True)
    if theirs and not ours:
        raise bought_elsewhere(theirs[0])


async def settle_submit(
    services: Services,
    generation: Generation,
    owner: Owner,
    *,
    may_post: bool = True,
    patience: float = math.inf,
) -> Generation:
    """Bring a generation whose submit is unclear to a known state by looking at fal; the lease must be held.

    With `may_post` false a request that provably never ran is INTENDED again instead of being sent. After `patience`
    seconds of a listing that lags the row is given back as it is, UNKNOWN: the next look goes on from this one.

    Raises:
        GenerationParked: looking cannot tell.
        FalUnavailable: fal cannot be reached for looking; the generation stays UNKNOWN for the next run.
    """
    if generation.state is State.UNKNOWN:
        generation = await look_for(services, generation, owner, patience=patience)
    if generation.state is State.INTENDED and may_post:
        return await _post_once(services, generation, owner)
    if generation.state is State.PARKED:
        raise parked(generation)
    return generation


async def _post_once(services: Services, generation: Generation, owner: Owner) -> Generation:
    """The one POST, directly after the ledger's permission; whatever comes back is written down first."""
    posting = asyncio.ensure_future(_post(services, generation, owner))
    try:
        return await asyncio.shield(posting)
    except asyncio.CancelledError:
        # The request may have left already: only its answer tells what is owed, and it is bounded in time.
        await asyncio.wait({posting})
        if not posting.cancelled():
            posting.exception()
        raise


async def _post(services: Services, generation: Generation, owner: Owner) -> Generation:
    tell("after-intent", generation.id)
    since = await _fal_time(services, generation.endpoint)
    began = asyncio.get_running_loop().time()
    # Refused where a POST of this attempt may have left already, where the lease is gone, or after a cancel.
    generation = await services.ledger.begin_post(generation.id, owner, since=since)
    attempt, question = generation.attempt, question_about(services, generation)
    tell("submit", generation.id, f"submitting to {generation.endpoint}")
    if asyncio.get_running_loop().time() - began > services.ledger.lease_seconds / 2:
        # A machine that slept here may have lost its lease: others may be proving by now that nothing was sent.
        still = NotSent("the machine stood still before the POST", attempt=attempt)
        await services.ledger.record(generation.id, still, owner=owner)
        raise FalNotSent("the machine stood still between the intent and the POST")
    try:
        receipt = await services.client.submit(
            generation.endpoint,
            generation.body,
            webhook_url=callback_url(services.options.webhook_url, generation),
            on_request_id=lambda request_id: keep_request_id(services, generation, request_id),
        )
    except FalError as error:
        # Only what proves that nothing ran frees the key and the budget.
        proven = what_it_proves("submit", generation, question, error, trust(services))
        event = proven or ReplyLost(error.what, attempt=attempt)
        generation = await _record(services, generation, event, owner)
        if isinstance(event, ReplyLost):
            return await settle_submit(services, generation, owner)
        forget_kept(services, generation.id)  # the id of a refusal is nobody's
        raise
    except BaseException as error:
        interrupted = ReplyLost(f"interrupted by {type(error).__name__}", attempt=attempt)
        await _record(services, generation, interrupted, owner)
        raise
    tell("after-reply", generation.id)
    generation = await _record(services, generation, Accepted(receipt.request_id), owner)
    forget_kept(services, generation.id)
    return generation


async def _record(services: Services, generation: Generation, event: Event, owner: Owner) -> Generation:
    """Write down what became of the POST.

    Raises:
        AcceptedNotRecorded: the ledger cannot be written, and fal has named the request.
    """
    try:
        return await services.ledger.record_and_get(generation.id, event, owner=owner)
    except LeaseLost:
        raise
    except LedgerError as error:
        kept = kept_request(services, generation.id)
        if kept is None:
            raise
        raised = not_recorded(
            generation, kept.request_id, error.what, is_accepted=isinstance(event, Accepted)
        )
        logger.error("%s", raised)
        raise raised from error


async def _fal_time(services: Services, endpoint: str) -> float | None:
    """The earliest that it can be by fal's clock; None where fal does not say. Asked for once, by a free call."""
    clock = services.client.clock
    if clock.now() is None:
        with suppress(FalError):
            await services.client.prices([endpoint])
    now = clock.now()
    return None if now is None else now.earliest
