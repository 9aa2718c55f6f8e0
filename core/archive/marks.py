"""Which ledgers wrote into an archive, and how far: what an empty or older ledger is noticed by.

Each generation leaves a mark before its manifest, `.ledgers/LEDGER/TIME-GENERATION`, with the time counted
backwards: the first name that a listing gives is the newest generation of that ledger. So one short listing is
enough, in an archive of any size, and nothing is ever overwritten.
"""

import contextlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.errors import ArchiveConflict
from prefect_ltx.archive.keys import MANIFEST_NAME, MARKS, check_key

_END_OF_TIME: Final = 99_999_999_999  # seconds: 11 digits, as long as any Unix time until the year 5138
_GENERATIONS: Final = "2"  # folders begin with a year
_LOOKED_AT: Final = 200


async def mark(backend: Backend, ledger_id: str, generation_id: str, created_at: datetime) -> None:
    """Write down that this ledger knows this generation. Again is no error.

    Raises:
        ArchiveError: it cannot be written now.
    """
    backwards = _END_OF_TIME - int(created_at.timestamp())
    name = check_key(f"{ledger_id}/{backwards:011d}-{generation_id}")
    data = json.dumps({"ledger": ledger_id, "generation_id": generation_id}).encode() + b"\n"
    with contextlib.suppress(ArchiveConflict):  # other words for the same: the name is what counts
        await backend.put_bytes(MARKS + name, data, content_type="application/json")


async def newest_marks(backend: Backend, ledger_id: str, limit: int = 16) -> list[str]:
    """The ids of this ledger's newest generations in the archive, the newest first; none where it never wrote."""
    keys = await backend.first(f"{MARKS}{check_key(ledger_id)}/", limit)
    return [key.rpartition("/")[2].partition("-")[2] for key in keys]


async def some_generations(backend: Backend) -> list[str]:
    """How the names of a few archived generations' folders end: with the beginning of the generation's id."""
    keys: Sequence[str] = await backend.first(_GENERATIONS, _LOOKED_AT)
    folders = [key.removesuffix(f"/{MANIFEST_NAME}") for key in keys if key.endswith(f"/{MANIFEST_NAME}")]
    return [folder.rpartition("/")[2] for folder in folders]
