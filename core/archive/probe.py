"""Whether a place really is write-once: tried with writes to one name, and cleaned up again."""

import asyncio
import contextlib
import secrets
from typing import Final

from prefect_ltx.archive.backend import Backend, Weakness
from prefect_ltx.archive.errors import ArchiveConflict, ArchiveError

FOLDER: Final = "prefect-ltx-doctor"
_REMOVAL_SECONDS: Final = 15


async def probe(backend: Backend) -> list[Weakness]:
    """What is wrong with the place; empty where it does what the archive needs of it.

    Raises:
        ArchiveError: it cannot be written or read at all.
    """
    key = f"{FOLDER}/probe-{secrets.token_hex(8)}"
    free = f"{key}-race"
    try:
        return await _tried(backend, key, free) + await _removed(backend, key, free)
    except BaseException:
        # A place that does not answer would keep us here for as long as before.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REMOVAL_SECONDS):
                await _removed(backend, key, free)
        raise


async def _tried(backend: Backend, key: str, free: str) -> list[Weakness]:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    await backend.put_bytes(key, first, content_type="application/octet-stream")
    try:
        await backend.put_bytes(key, second, content_type="application/octet-stream")
    except ArchiveConflict:
        pass
    else:
        what = "a second write with other bytes was not refused, so a paid video could be overwritten"
        return [Weakness(what, "error")]
    read = b"".join([chunk async for chunk in backend.chunks(key)])
    if read != first:
        return [Weakness("what was written first is not what is read back", "error")]
    # So far the archive may have looked for itself. Now without looking: what two racing writers meet.
    return [*await backend.weaknesses(key, free)]


async def _removed(backend: Backend, *keys: str) -> list[Weakness]:
    wrong = []
    for key in keys:
        try:
            await backend.remove_probe(key)
        except ArchiveError as error:
            wrong.append(Weakness(f"the probe {backend.url(key)} could not be removed: {error}", "info"))
    return wrong
