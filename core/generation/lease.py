"""Holding a generation's lease while something is done for it, so that nobody else does it as well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.ledger import Claim, Generation, LedgerError, Owner

BUSY_POLL_SECONDS = (0.2, 5.0)

_Place = tuple[str, str, Owner]


@dataclass
class _Hold:
    renewing: asyncio.Task[None]
    blocks: int = 1


_holds: dict[_Place, _Hold] = {}


@asynccontextmanager
async def hold(services: Services, generation_id: str, owner: Owner) -> AsyncIterator[Generation]:
    """The generation, ours alone until the block ends; waits while a living owner works on it.

    Holds nest for one owner: the lease is given back by the last to end. Nothing is given back on a kill; then
    the lease ends when the process is seen to be dead, or when it expires.
    """
    generation = await _taken(services, generation_id, owner)
    async with keep(services, generation_id, owner):
        yield generation


@asynccontextmanager
async def keep(services: Services, generation_id: str, owner: Owner) -> AsyncIterator[None]:
    """Renew a lease that `owner` has already, and give it back when the last of its blocks ends.

    Blocks of one owner may nest, and may lie beside each other: two equal items of one run end in any order.
    """
    place = (services.ledger.id, generation_id, owner)
    if place in _holds:
        _holds[place].blocks += 1
    else:
        _holds[place] = _Hold(asyncio.create_task(_renew(services, generation_id, owner)))
    try:
        yield
    finally:
        held = _holds[place]
        held.blocks -= 1
        if held.blocks == 0:
            del _holds[place]
            held.renewing.cancel()
            with suppress(asyncio.CancelledError):
                await held.renewing
            with suppress(LedgerError):  # it expires by itself
                await in_thread(services.ledger.release, generation_id, owner)


def holding(services: Services, generation_id: str, owner: Owner) -> bool:
    """Whether a block of this owner's, in this process, holds the generation now."""
    return (services.ledger.id, generation_id, owner) in _holds


async def _taken(services: Services, generation_id: str, owner: Owner) -> Generation:
    pause, longest = BUSY_POLL_SECONDS
    while True:
        claim: Claim = await in_thread(services.ledger.take, generation_id, owner)
        if claim.outcome != "busy":
            return claim.generation
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, longest)


async def _renew(services: Services, generation_id: str, owner: Owner) -> None:
    while True:
        await asyncio.sleep(services.ledger.lease_seconds / 4)
        with suppress(LedgerError):  # the next renewal may get through; the lease is long enough for three
            await in_thread(services.ledger.renew, generation_id, owner)
