"""Request ids that were kept on this machine when the ledger could not take them."""

import asyncio
import logging

from prefect_ltx.fal import FalUnavailable
from prefect_ltx.generation.kept import KeptRequest, all_kept, fal_knows, forget_kept
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Accepted, AnotherAccount, GenerationNotFound
from prefect_ltx.ledger.life.states import WITHOUT_REQUEST

logger = logging.getLogger("prefect_ltx.recovery")


async def adopt_kept_ids(services: Services) -> None:
    """Give each kept id to its row. Rows that are looked for find theirs themselves; what is kept for one that is
    closed by now, or has another request, ran all the same where fal knows it, and the ledger keeps it beside the row.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    for kept in await asyncio.to_thread(all_kept, services):
        try:
            await _adopt(services, kept)
        except FalUnavailable as error:
            logger.info("Request %s stays kept: %s", kept.request_id, error.what)
        except (AnotherAccount, GenerationNotFound) as error:
            logger.info(
                "Request %s is kept for a row that this account cannot touch: %s", kept.request_id, error
            )


async def _adopt(services: Services, kept: KeptRequest) -> None:
    row = await services.ledger.get(kept.generation_id)
    if row.state in WITHOUT_REQUEST:
        return
    if row.request_id != kept.request_id:
        if not await fal_knows(services, kept):
            return  # it is asked again by the next sweep, for as long as the folder is there
        await services.ledger.record(row.id, Accepted(kept.request_id), actor="kept id")
    forget_kept(services, row.id)
