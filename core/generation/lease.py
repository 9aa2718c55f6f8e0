"""Holding a generation's lease while something is done for it, so that nobody else does it as well.

The leases themselves, and what renews them, belong to the process (`process`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from prefect_ltx.generation.process import RowsAtWork
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Claim, Generation, LedgerError, Owner

BUSY_POLL_SECONDS: Final = (0.2, 5.0)
_LOOK_POLL_SECONDS: Final = (0.02, 0.5)


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

    Blocks of one owner may nest, and may lie beside each other, in different event loops too: two equal items of
    one run end in any order.
    """
    ledger = services.ledger
    place = (ledger.id, generation_id, owner)
    services.process.leases.enter(place, ledger.ledger)
    try:
        # Another block of this owner may have given the lease back between our taking it and the line above.
        if services.process.leases.was_just_left(place):
            if not await ledger.renew(generation_id, owner):
                await _taken(services, generation_id, owner)
            services.process.leases.has_again(place)
        yield
    finally:
        was_last: bool | None = None

        def give_back() -> None:
            nonlocal was_last
            if was_last is None:  # the transaction may be run again
                was_last = services.process.leases.leave(place, ledger.ledger)
            if was_last:
                ledger.ledger.release(generation_id, owner)

        with suppress(LedgerError):  # it expires by itself
            await ledger.write(give_back)


def holding(services: Services, generation_id: str, owner: Owner) -> bool:
    """Whether a block of this owner's, in this process, holds the generation now."""
    return services.process.leases.is_held((services.ledger.id, generation_id, owner))


@asynccontextmanager
async def only_looker(services: Services, generation_id: str) -> AsyncIterator[None]:
    """The right to look for this row's request at fal: one looker per row in a process.

    A listing that somebody asked for before an attempt's POST must not be judged after it; those who wait here read
    the row again once it is their turn.
    """
    async with _alone(services.process.lookers, (services.ledger.id, generation_id)):
        yield


@asynccontextmanager
async def only_collector(services: Services, generation_id: str) -> AsyncIterator[None]:
    """The right to bring this row's video into the archive: one collector per row in a process, since its unfinished
    files have one place. Those who come later read the row again once it is their turn.
    """
    async with _alone(services.process.collectors, (services.ledger.id, generation_id)):
        yield


@asynccontextmanager
async def _alone(rows: RowsAtWork, row: tuple[str, str]) -> AsyncIterator[None]:
    """Be the only one of this process at work on the row."""
    pause, longest = _LOOK_POLL_SECONDS
    while not rows.enter(row):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, longest)
    try:
        yield
    finally:
        rows.leave(row)


async def _taken(services: Services, generation_id: str, owner: Owner) -> Generation:
    pause, longest = BUSY_POLL_SECONDS
    while True:
        claim: Claim = await services.ledger.take(generation_id, owner)
        if claim.outcome != "busy":
            return claim.generation
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, longest)
