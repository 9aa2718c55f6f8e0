"""A step that fails after the payment says so: paid, where the video is now, and that running again costs nothing.

What a step itself costs is no answer to what a run has cost. The archive and the disk know nothing of money; the row
does, so its state at this moment decides what is said.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prefect_ltx.archive import ArchiveError
from prefect_ltx.fal import FalDownloadError, FalUnavailable
from prefect_ltx.generation.errors import GenerationStopped
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation, LedgerError, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.provenance import SigningFailed

AGAIN = (
    "Put that right, then run it again or `prefect-ltx sweep`: it resumes from there and pays nothing more"
)
SOON = "Run it again soon, or `prefect-ltx sweep`: files on fal expire, and it pays nothing more"
_BEFORE_PAYMENT: Final = re.compile(r"\. Nothing was (?:sent or )?spent|\. Signing costs nothing")
"""What the checks of signing say, which are made before a run and once more in it."""


class PaidVideoWaits(GenerationStopped):
    """The video is paid for, and this machine could not go on with it: a full disk, a folder that cannot be written, a
    certificate that does not sign. Nothing is lost; the next run or sweep goes on."""


@asynccontextmanager
async def told_as_paid(services: Services, generation: Generation) -> AsyncIterator[None]:
    """Errors of this block's steps say what they mean for a generation that is paid for; their types stay.

    Raises:
        PaidVideoWaits: in place of an error of the operating system or of signing.
    """
    try:
        yield
    except ArchiveError as error:
        bill = await _money_and_place(services, generation)
        raise error.after(bill=bill, next_step=AGAIN) from error
    except (FalDownloadError, FalUnavailable) as error:
        if error.billed == "no":
            error.money_note = await _money_and_place(services, generation)
            error.next_step = AGAIN if isinstance(error.__cause__, OSError) else SOON
        raise
    except SigningFailed as error:
        what = _BEFORE_PAYMENT.split(str(error))[0]
        raise PaidVideoWaits(await _line(services, generation, what), generation) from error
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        what = f"{named}{error.strerror or type(error).__name__}"
        raise PaidVideoWaits(await _line(services, generation, what), generation) from error


async def _line(services: Services, generation: Generation, what: str) -> str:
    return f"{what.rstrip('.')}. {await _money_and_place(services, generation)}. {AGAIN}."


async def _money_and_place(services: Services, generation: Generation) -> str:
    try:
        row = await services.ledger.get(generation.id)
    except LedgerError:
        row = generation
    paid = f"{'' if row.settled_usd is not None else 'up to '}{dollars(row.held_usd)}"
    return f"Generation {row.id} is paid for ({paid}), and {_place(row)}"


def _place(row: Generation) -> str:
    if row.state is State.ARCHIVED:
        return "its video is in the archive"
    if row.path and Path(row.path).is_file():
        return f"its video is kept in {row.path}"
    return "its video is still at fal, which deletes it after a while"
