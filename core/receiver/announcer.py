"""Telling that generations are done, so that somebody collects them: at least once, and again while nobody does.

What is told is in the ledger, so a receiver that was killed, or a Prefect that was down, only makes it later. The
poller flow tells by the same list.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from prefect_ltx.ledger import Announcement, AsyncLedger, LedgerError, Receipt

LOOK_SECONDS: Final = 3.0
_GATHER_SECONDS: Final = 0.3
"""A burst is answered first and announced afterwards, all of it together."""

Tell = Callable[[Announcement], None]
"""Called in a worker thread."""

logger = logging.getLogger("prefect_ltx.receiver")


class Announcer:
    """Tells of what was just recorded at once, and of what stays uncollected every few seconds."""

    def __init__(self, ledger: AsyncLedger, tell: Tell, *, again_after: float) -> None:
        """Nothing is told before `run` runs."""
        self._ledger, self._tell, self._again_after = ledger, tell, again_after
        self._wake = asyncio.Event()

    def recorded(self, receipts: Sequence[Receipt]) -> None:
        """A commit brought something that may have to be told."""
        if any(each.moved for each in receipts):
            self._wake.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            await asyncio.sleep(_GATHER_SECONDS)
            self._wake.clear()
            try:
                due = await self._ledger.take_announcements(again_after=self._again_after)
            except LedgerError as error:
                logger.warning("Nothing announced: %s", error)
                due = []
            for each in due:
                # A generation in the hands of a living run is not among them: that run collects it itself.
                await asyncio.to_thread(self._tell, each)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
