"""The archive's half of a download: the same bytes, in the same pass, into the archive.

It is there to save time and never costs a video: whatever goes wrong with it, or takes too long, only ends the copy;
the download goes on, and `store` writes the file later.
"""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from prefect_ltx.archive import Archive, ArchiveError, Incoming
from prefect_ltx.fal import Downloaded

_LONGEST_WAIT: Final = 30.0
_logger = logging.getLogger(__name__)


class Tee:
    """Gets a download's pieces (`fal.download.Copy`); `publish` when they are verified, else nothing appears."""

    def __init__(self, archive: Archive, key: str, generation_id: str) -> None:
        """Prepare; nothing is written before the first piece."""
        self._archive = archive
        self._key = key
        self._generation_id = generation_id
        self._incoming: Incoming | None = None

    async def __aenter__(self) -> Self:
        self._incoming = self._archive.incoming(self._key, content_type="video/mp4")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    def start_over(self) -> None:
        """The pieces come again from the first one on."""
        if self._incoming is not None:
            self._incoming.start_over()

    async def add(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._incoming is None:
            return
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                await self._incoming.add(piece)
        except (ArchiveError, TimeoutError) as error:
            await self._give_up(error)

    async def publish(self, download: Downloaded) -> str:
        """Let the verified file appear in the archive; its address, or nothing where that is left to `store`."""
        if self._incoming is None:
            return ""
        try:
            await self._incoming.finish(sha256=download.sha256, size=download.size)
        except ArchiveError as error:
            await self._give_up(error)
            return ""
        return self._archive.url(self._key)

    async def _give_up(self, error: Exception) -> None:
        what = error.what if isinstance(error, ArchiveError) else f"no progress for {_LONGEST_WAIT:.0f} s"
        _logger.warning(
            "Generation %s is not archived while it is downloaded, but afterwards: %s",
            self._generation_id,
            what,
        )
        await self._end()

    async def _end(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        try:
            await incoming.discard()
        except ArchiveError as error:
            # The sweep clears what stays behind.
            _logger.warning("An unfinished file of generation %s stays: %s", self._generation_id, error.what)
