"""fal's webhooks as Prefect events: the receiver, and what it tells Prefect.

What the ledger writes is told by `prefect_ltx.tasks.life`, here as in every other process; what stays uncollected
after that is told from the ledger's list, and again while that is so.
"""

import logging
from typing import Any

from prefect_ltx.ledger import Announcement
from prefect_ltx.receiver import serve
from prefect_ltx.settings import Settings
from prefect_ltx.tasks.events import announce

logger = logging.getLogger("prefect_ltx.receiver")


async def serve_webhooks(settings: Settings, **options: Any) -> None:
    """Receive fal's webhooks until stopped, and raise Prefect's events; options as of `prefect_ltx.receiver.serve`.

    Raises:
        SettingsError, LedgerError, OSError: as `serve` does.
    """
    await serve(settings, _tell, **options)


def _tell(announcement: Announcement) -> None:
    announce(announcement)
    row = announcement.generation
    logger.info("Told Prefect, time %d: generation %s is done at fal", announcement.number, row.id)
