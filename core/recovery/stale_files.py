"""Files that killed runs left: in the archive under temporary names, and in this machine's work folder."""

import asyncio
from datetime import timedelta
from typing import Final

from prefect_ltx.generation.kept import all_kept
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.work_folders import clear_work_dir, generation_folders
from prefect_ltx.ledger import UNFINISHED, AsyncLedger, GenerationNotFound, State

STALE_SECONDS: Final = 24 * 3600


async def clear_stale_files(services: Services) -> None:
    """Remove what nobody needs any more.

    Raises:
        ArchiveError, LedgerError, OSError: something could not be looked at or removed.
    """
    # A closed row's folder has its manifest: nobody writes there any more, however young a leftover is.
    since = services.runtime.now() - 2 * timedelta(seconds=STALE_SECONDS)
    closed = await services.ledger.find(states=[State.ARCHIVED])
    ended = {row.folder for row in closed if row.folder and row.closed_at and row.closed_at > since}
    await services.archive.clear_stale_temporaries(older_than=STALE_SECONDS, finished=ended)
    unfinished = {row.id for row in await services.ledger.unfinished()}
    unfinished |= {kept.generation_id for kept in await asyncio.to_thread(all_kept, services)}
    # Killed after its row was closed and before it cleared its folder: no run comes back for that.
    work_dir = services.options.work_dir
    names = set(await asyncio.to_thread(generation_folders, work_dir)) - unfinished
    over = {name for name in names if await _is_over(services.ledger, name)}
    await asyncio.to_thread(clear_work_dir, work_dir, unfinished, over)


async def _is_over(ledger: AsyncLedger, name: str) -> bool:
    try:
        return (await ledger.get(name)).state not in UNFINISHED
    except GenerationNotFound:
        return False  # another ledger's
