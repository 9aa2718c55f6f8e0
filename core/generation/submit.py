"""One POST for one generation: intend, send once, and look where the answer was lost.

This is the only module that calls `FalClient.submit`. It does so in one place, directly after the ledger gave
the permission, and never because of an error.
"""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

from prefect_ltx.fal import (
    FalAuthenticationError,
    FalError,
    FalNotSent,
    FalPermissionDenied,
    FalSubmitUnknown,
    ListedRequest,
)
from prefect_ltx.generation.accounts import bought_elsewhere
from prefect_ltx.generation.behind import refuse_ledger_behind_archive
from prefect_ltx.generation.callback import callback_url
from prefect_ltx.generation.errors import ended, lost, parked
from prefect_ltx.generation.lease import BUSY_POLL_SECONDS, keep
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.ledger import (
    Accepted,
    Found,
    Generation,
    LeaseLost,
    NotSent,
    Owner,
    Plan,
    PostNotPermitted,
    ProvablyAbsent,
    Rejected,
    ReplyLost,
    RequestClaimed,
    State,
    Undecidable,
    Wait,
    match,
)

CLOCK_SKEW = timedelta(minutes=5)
"""How far fal's clock and ours may differ when requests are looked for by time."""
LOOK_PAUSE_SECONDS = (0.2, 10.0)


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
        PaidVideoLost: this very video was paid for before and fal no longer has it.
        AccountUnclear: nobody can tell whose account the key is of; nothing was sent or spent.
    """
    await refuse_ledger_behind_archive(services, (plan.key, *plan.older_keys))
    await _refuse_unclear(services, plan)
    pause, longest = BUSY_POLL_SECONDS
    while True:
        tell("before-intent", "")
        claim = await in_thread(services.ledger.claim, plan, owner, services.limits)
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
                    generation = await in_thread(services.ledger.get, generation.id)
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
                raise lost(generation)
            case "closed":
                continue  # its last owner released it this moment: claim again


async def _refuse_unclear(services: Services, plan: Plan) -> None:
    services.identity.check()
    if not plan.keys_elsewhere:
        return
    ours = await in_thread(services.ledger.find, key=plan.key, live=True)
    theirs = await in_thread(services.ledger.find, keys=plan.keys_elsewhere, live=True)
    if theirs and not ours:
        raise bought_elsewhere(theirs[0])


async def settle_submit(
    services: Services, generation: Generation, owner: Owner, *, may_post: bool = True
) -> Generation:
    """Bring a generation whose submit is unclear to a known state by looking at fal; the lease must be held.

    With `may_post` false a request that provably never ran stays UNKNOWN instead of being sent: the sweeper
    spends nothing.

    Raises:
        GenerationParked: looking cannot tell.
        FalUnavailable: fal cannot be reached for looking; the generation stays UNKNOWN for the next run.
    """
    pause, longest = LOOK_PAUSE_SECONDS
    while generation.state is State.UNKNOWN:
        try:
            found = match(
                await _listed(services, generation),
                generation,
                now=time.time(),
                lag=services.options.listing_lag,
                absence_is_proof=services.options.absence_is_proof,
                claimed=await in_thread(services.ledger.claimed_request_ids, generation.endpoint),
            )
        except (FalAuthenticationError, FalPermissionDenied) as error:
            found = Undecidable("forbidden", error.what, attempt=generation.attempt)
        match found:
            case Wait(seconds):
                await asyncio.sleep(min(max(seconds, pause), longest))
                pause = min(pause * 2, longest)
                # A webhook may have named the request meanwhile.
                generation = await in_thread(services.ledger.get, generation.id)
            case ProvablyAbsent() if not may_post:
                return generation
            case _:
                with suppress(RequestClaimed):  # another row was quicker: look again without that request
                    await in_thread(services.ledger.record, generation.id, found, owner=owner)
                generation = await in_thread(services.ledger.get, generation.id)
    if generation.state is State.INTENDED and may_post:
        return await _post_once(services, generation, owner)
    if generation.state is State.PARKED:
        raise parked(generation)
    return generation


async def look_again(services: Services, generation: Generation, owner: Owner) -> Generation:
    """One more look for a parked generation: fal's listing may show by now what it did not show then.

    Raises:
        GenerationParked: it still does not.
    """
    try:
        found = match(
            await _listed(services, generation),
            generation,
            now=time.time(),
            lag=services.options.listing_lag,
            absence_is_proof=False,
            claimed=await in_thread(services.ledger.claimed_request_ids, generation.endpoint),
        )
    except FalError:
        raise parked(generation) from None
    if not isinstance(found, Found):
        raise parked(generation)
    await in_thread(services.ledger.record, generation.id, found, owner=owner)
    return await in_thread(services.ledger.get, generation.id)


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
    record = services.ledger.record
    began = time.monotonic()
    # Refused where a POST of this attempt may have left already, where the lease is gone, or after a cancel.
    generation = await in_thread(services.ledger.begin_post, generation.id, owner)
    tell("submit", generation.id, f"submitting to {generation.endpoint}")
    if time.monotonic() - began > services.ledger.lease_seconds / 2:
        # A machine that slept here may have lost its lease: others may be proving by now that nothing was sent.
        await in_thread(
            record,
            generation.id,
            NotSent("the machine stood still before the POST", attempt=generation.attempt),
            owner=owner,
        )
        raise FalNotSent("the machine stood still between the intent and the POST")
    try:
        receipt = await services.client.submit(
            generation.endpoint,
            generation.body,
            webhook_url=callback_url(services.options.webhook_url, generation),
        )
    except FalNotSent as error:
        await in_thread(record, generation.id, NotSent(error.what, attempt=generation.attempt), owner=owner)
        raise
    except FalSubmitUnknown as error:
        lost_reply = ReplyLost(error.what, attempt=generation.attempt)
        await in_thread(record, generation.id, lost_reply, owner=owner)
        if error.request_id and await _exists(services, generation.endpoint, error.request_id):
            named = Found(error.request_id, attempt=generation.attempt)
            await in_thread(record, generation.id, named, owner=owner)
        return await settle_submit(services, await in_thread(services.ledger.get, generation.id), owner)
    except FalError as error:
        # Only what proves that nothing ran frees the key and the budget.
        kind = Rejected if error.billed == "no" else ReplyLost
        event = kind(error.what, attempt=generation.attempt)
        await in_thread(record, generation.id, event, owner=owner)
        raise
    except BaseException as error:
        await in_thread(
            record,
            generation.id,
            ReplyLost(f"interrupted by {type(error).__name__}", attempt=generation.attempt),
            owner=owner,
        )
        raise
    tell("after-reply", generation.id)
    accepted = Accepted(receipt.request_id)
    return await in_thread(services.ledger.record_and_get, generation.id, accepted, owner=owner)


async def _exists(services: Services, endpoint: str, request_id: str) -> bool:
    try:
        await services.client.status(endpoint, request_id, logs=False)
    except FalError:
        return False
    return True


async def _listed(services: Services, generation: Generation) -> list[ListedRequest]:
    start = generation.created_at - CLOCK_SKEW
    return [
        each
        async for each in services.client.list_requests(
            generation.endpoint, start=start, end=None, expand_payloads=True
        )
    ]
