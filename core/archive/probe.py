"""Whether a place really is write-once: tried with two writes to one name, and cleaned up again."""

import secrets
from typing import Final

from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.errors import ArchiveConflict, ArchiveError

FOLDER: Final = "prefect-ltx-doctor"


async def probe(backend: Backend) -> list[str]:
    """What is wrong with the place, one sentence each; empty where it does what the archive needs of it.

    Raises:
        ArchiveError: it cannot be written or read at all.
    """
    key = f"{FOLDER}/probe-{secrets.token_hex(8)}"
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    wrong = []
    await backend.put_bytes(key, first, content_type="application/octet-stream")
    try:
        try:
            await backend.put_bytes(key, second, content_type="application/octet-stream")
            wrong.append(
                "a second write with other bytes was not refused, so a paid video could be overwritten"
            )
        except ArchiveConflict:
            pass
        read = b"".join([chunk async for chunk in backend.chunks(key)])
        if read != first:
            wrong.append("what was written first is not what is read back")
    finally:
        try:
            await backend.remove_probe(key)
        except ArchiveError as error:
            wrong.append(f"the probe {backend.url(key)} could not be removed: {error}")
    return wrong
