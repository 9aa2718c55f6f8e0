"""A ledger that is empty or older than the archive beside it is noticed before money is spent.

Such a ledger would buy again what is archived, and count none of what was spent. The archive holds a mark of every
generation with the id of the ledger that knows it (`archive.marks`), so one short listing tells.
"""

import asyncio
import weakref
from collections.abc import Collection
from typing import Final

from prefect_ltx.archive import Archive
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import AsyncLedger, LedgerBehindArchive
from prefect_ltx.ledger.life.states import WITHOUT_REQUEST

_GOOD_FOR_SECONDS: Final = 60.0
_looked: Final[weakref.WeakKeyDictionary[AsyncLedger, dict[str, float]]] = weakref.WeakKeyDictionary()


async def refuse_ledger_behind_archive(services: Services, keys: Collection[str]) -> None:
    """Ask before a request with these keys may be bought; an answer is good for a minute.

    A request whose row has a request of fal's, or is archived, costs nothing and is not asked about.

    Raises:
        LedgerBehindArchive: the archive holds videos that the ledger does not know. Nothing was sent or spent.
        ArchiveError: the archive cannot be listed; what is bought now could perhaps not be kept.
    """
    if not services.archive_is_the_ledgers:
        return
    ledger, archive = services.ledger, services.archive
    looked = _looked.setdefault(ledger, {})
    if asyncio.get_running_loop().time() - looked.get(archive.location, float("-inf")) < _GOOD_FOR_SECONDS:
        return
    rows = await ledger.find(keys=keys, live=True, limit=1)
    if rows and rows[0].state not in WITHOUT_REQUEST:
        return
    if (what := await behind(ledger, archive)) is not None:
        raise LedgerBehindArchive(
            what,
            next_step="`prefect-ltx ledger rebuild` makes its rows again from the archive's manifests; if it is the "
            "wrong ledger or archive, name the right one (PREFECT_LTX_LEDGER, PREFECT_LTX_ARCHIVE)",
        )
    looked[archive.location] = asyncio.get_running_loop().time()


async def behind(ledger: AsyncLedger, archive: Archive) -> str | None:
    """In which way the ledger is behind this archive, in one sentence; None where it is not."""
    newest = (
        await archive.newest_marks(ledger.id) if ledger.id else ()
    )  # one that does not exist yet has none
    if newest:
        missing = await ledger.behind(newest)
        if not missing:
            return None
        how_many = f"{len(missing)} or more" if len(missing) == len(newest) else str(len(missing))
        return (
            f"The ledger {ledger.name} is older than the archive {archive.location}: it archived {how_many} "
            "generations there that it does not know any more"
        )
    if await ledger.has_joined(archive.location):
        return None
    folders = await archive.some_generations()
    if not folders or await ledger.knows_any([name[-_ID_IN_NAME:] for name in folders]):
        return None
    return f"The ledger {ledger.name} knows none of the videos that the archive {archive.location} holds"


_ID_IN_NAME: Final = 16  # `archive.folder_for`
