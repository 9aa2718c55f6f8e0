"""Looking for a request whose submit has no answer: by the id that was kept, else in fal's own listing.

Nothing is sent from here. What a listing proves is decided in `prefect_ltx.ledger.life.evidence`; an error of looking
never means that a request is absent.
"""

import asyncio
import logging
import math
from contextlib import suppress
from typing import Final

from prefect_ltx.fal import (
    FalAuthenticationError,
    FalError,
    FalGateway,
    FalPermissionDenied,
    FalUnavailable,
)
from prefect_ltx.generation.asking import question_about, trust
from prefect_ltx.generation.errors import parked
from prefect_ltx.generation.kept import fal_knows, forget_kept, kept_request
from prefect_ltx.generation.lease import only_looker
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import (
    Accepted,
    Found,
    Generation,
    Owner,
    ProvablyAbsent,
    RequestClaimed,
    State,
    Undecidable,
)
from prefect_ltx.ledger.life.evidence import Verdict, Wait, verdict

LOOK_PAUSE_SECONDS: Final = (0.2, 10.0)
GATEWAY_TRIES: Final = 3
"""How often a listing is asked for through something that answers in fal's place, before a person is asked."""

logger = logging.getLogger("prefect_ltx.generation")


async def look_for(
    services: Services, generation: Generation, owner: Owner, *, patience: float = math.inf
) -> Generation:
    """Look until the row is not UNKNOWN any more, or for `patience` seconds; the lease must be held.

    Absence is recorded as such: the row is INTENDED then, with its next attempt.

    Raises:
        FalUnavailable: fal cannot be reached for looking; the generation stays UNKNOWN for the next run.
    """
    async with only_looker(services, generation.id):
        # Whoever looked before this one may have found it.
        generation = await services.ledger.get(generation.id)
        if generation.state is State.UNKNOWN:
            generation = await _by_kept_id(services, generation, owner) or generation
        began, (pause, longest), gateways = asyncio.get_running_loop().time(), LOOK_PAUSE_SECONDS, 0
        while generation.state is State.UNKNOWN:
            waited = asyncio.get_running_loop().time() - began
            try:
                found = await _verdict(services, generation, waited)
            except FalGateway as error:
                gateways += 1
                if gateways < GATEWAY_TRIES:
                    found = Wait(pause)
                else:
                    found = Undecidable("incomplete", error.what, attempt=generation.attempt)
            match found:
                case Wait(seconds):
                    if waited + seconds > patience:
                        return generation
                    await asyncio.sleep(min(max(seconds, pause), longest))
                    pause = min(pause * 2, longest)
                case _:
                    with suppress(RequestClaimed):  # another row was quicker: look again without that request
                        await services.ledger.record(generation.id, found, owner=owner)
                    if isinstance(found, ProvablyAbsent):
                        forget_kept(services, generation.id)  # fal knows it neither by id nor in its listing
            # A webhook may have named the request meanwhile.
            generation = await services.ledger.get(generation.id)
    return generation


async def look_again(services: Services, generation: Generation, owner: Owner) -> Generation:
    """One more look for a parked generation: fal's listing may show by now what it did not show then.

    Raises:
        GenerationParked: it still does not.
    """
    async with only_looker(services, generation.id):
        generation = await services.ledger.get(generation.id)
        if generation.state is not State.PARKED:
            return generation
        try:
            adopted = await _by_kept_id(services, generation, owner)
            if adopted is not None and adopted.state is not State.PARKED:
                return adopted
            found = await _verdict(services, generation, math.inf)
        except FalError:
            raise parked(generation) from None
        if isinstance(found, Found):
            with suppress(RequestClaimed):
                await services.ledger.record(generation.id, found, owner=owner)
        generation = await services.ledger.get(generation.id)
    if generation.state is State.PARKED:
        raise parked(generation)
    return generation


async def _by_kept_id(services: Services, generation: Generation, owner: Owner) -> Generation | None:
    """The row with the id that its own POST's reply named, once fal knows it; None where fal does not know it.

    Raises:
        FalUnavailable: fal cannot be asked whether it knows the request.
    """
    kept = kept_request(services, generation.id)
    if kept is None:
        return None
    if not await fal_knows(services, kept):
        return None  # its absence still has to be proved, by the listing
    adopted = await services.ledger.record_and_get(generation.id, Accepted(kept.request_id), owner=owner)
    forget_kept(services, generation.id)
    return adopted


async def _verdict(services: Services, generation: Generation, waited: float) -> Verdict:
    question = question_about(services, generation)
    try:
        listing = await services.client.listing(
            generation.endpoint, start=question.listing_start, expand_payloads=True
        )
    except (FalAuthenticationError, FalPermissionDenied) as error:
        return Undecidable("forbidden", error.what, attempt=generation.attempt)
    except FalUnavailable:
        raise
    except FalError as error:
        return Undecidable("incomplete", error.what, attempt=generation.attempt)
    return verdict(
        await services.ledger.get(generation.id),
        question,
        listing,
        trust(services),
        claimed=await services.ledger.claimed_request_ids(),
        waited=waited,
    )
