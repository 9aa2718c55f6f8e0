"""The small pictures of the gallery: one for each poster, made once, named by the poster's sha256.

They are no part of any generation: no manifest names them, `verify` does not look at them, and they can be deleted.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Final

from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.errors import ArchiveConflict, ArchiveError
from prefect_ltx.archive.keys import THUMBNAILS, check_key
from prefect_ltx.archive.manifest import ArchivedFile, Manifest

Thumbnail = Callable[[bytes], bytes | None]
"""Makes a small JPEG of a poster; called in a thread. None: it is no picture."""

_MOST_POSTER_BYTES: Final = 32 << 20


def thumbnail_key(poster: ArchivedFile) -> str:
    """Where the thumbnail of a poster is, if it was made."""
    return f"{THUMBNAILS}{poster.sha256}.jpg"


async def make_thumbnails(
    backend: Backend,
    entries: Sequence[tuple[str, Manifest]],
    there: Collection[str],
    thumbnail: Thumbnail,
) -> dict[str, int]:
    """Make those that are not `there`, several at a time. Returns key to size; what cannot be made is left out."""
    wanted = {
        thumbnail_key(poster): f"{folder}/{poster.name}"
        for folder, manifest in entries
        if (poster := manifest.file("poster")) is not None and thumbnail_key(poster) not in there
    }
    made: dict[str, int] = {}
    turn = asyncio.Semaphore(backend.parallel)

    async def make(key: str, poster: str) -> None:
        async with turn:
            data = bytearray()
            try:
                async for chunk in backend.chunks(check_key(poster)):
                    data += chunk
                    if len(data) > _MOST_POSTER_BYTES:
                        return
                small = await asyncio.to_thread(thumbnail, bytes(data))
                if small is None:
                    return
                with contextlib.suppress(ArchiveConflict):  # another release's of the same poster
                    await backend.put_bytes(key, small, content_type="image/jpeg")
            except ArchiveError:
                return  # the page shows the poster itself, or none
            made[key] = len(small)

    async with asyncio.TaskGroup() as group:
        for key, place in wanted.items():
            group.create_task(make(key, place))
    return made
