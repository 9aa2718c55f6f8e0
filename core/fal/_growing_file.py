"""A downloaded file as far as it has come: its bytes, its running sha256, its ceiling, and when it is whole."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from prefect_ltx.fal.errors import FalDownloadError
from prefect_ltx.fal.results import MAX_FILE_BYTES
from prefect_ltx.fal.safe_text import strip_url

OnProgress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""


class Copy(Protocol):
    """Somewhere else that the same bytes go in the same pass. What it raises ends the download."""

    async def add(self, piece: bytes) -> None:
        """Take the next piece."""
        ...

    def start_over(self) -> None:
        """Forget the pieces so far: they come again from the first one on."""
        ...


UNANNOUNCED_BYTES: Final = 1 << 30
"""The most that is taken where neither the server nor fal's result says how long the file is."""
SLACK_BYTES: Final = 64 << 20
"""By how much a file whose length nobody announces may exceed fal's `file_size` (or twice it, if that is more)."""
_BLOCK: Final = 1 << 20


class PassingError(FalDownloadError):
    """A failure after which another attempt makes sense; `.asked` is the wait that the server asked for."""

    asked: float | None = None
    by_a_page: bool = False
    """Whether a web page came in place of the file: something between answered, not fal."""


class GrowingFile:
    """The file as far as it has come, with its running sha256 and what the server said about it.

    Bytes are written by the megabyte: a small file takes one turn in a thread instead of one for every packet.
    """

    def __init__(
        self, part: Path, on_progress: OnProgress | None, copy: Copy | None, expected_size: int | None
    ) -> None:
        part.parent.mkdir(parents=True, exist_ok=True)
        self._part = part
        self._file: BinaryIO = part.open("wb")
        self._on_progress = on_progress
        self._copy = copy
        self._block = bytearray()
        self._expected = expected_size
        self._other_sizes: set[int] = set()
        self.content_type: str | None = None
        self.oddities: list[str] = []
        self._reset()

    async def add(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self.size += len(chunk)
        if self.size > (ceiling := self._ceiling()):
            raise FalDownloadError(
                f"The file is longer than {ceiling} bytes, the most that is taken",
                next_step="Ask fal: its result said otherwise, or said nothing",
            )
        self._block += chunk
        if len(self._block) >= _BLOCK:
            await self.flush()
        if self._on_progress is not None:
            self._on_progress(self.size, self.total)

    async def flush(self) -> None:
        """Write what has gathered; to be called before `finish`."""
        block = bytes(self._block)
        self._block.clear()
        if not block:
            return
        await asyncio.to_thread(self._file.write, block)
        if self._copy is not None:
            await self._copy.add(block)

    def start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._reset()

    def check(self, url: str) -> None:
        """Compare the length with what the server said, and with what fal's result said.

        Where the server said nothing, the same other length a second time is the file's own.
        """
        size, total = self.size, self.total
        if total is not None and total != size:
            self.start_over()
            raise PassingError(f"{strip_url(url)} gave {size} bytes in place of {total}")
        if self._expected is None or self._expected == size:
            return
        if self.total is None and size not in self._other_sizes:
            self._other_sizes.add(size)
            self.start_over()
            raise PassingError(f"{strip_url(url)} gave {size} bytes in place of {self._expected}")
        self.oddities.append(f"the file has {size} bytes, fal's result said {self._expected}")

    def _ceiling(self) -> int:
        if self.total is not None:
            return self.total
        if self._expected is not None:
            return min(max(2 * self._expected, self._expected + SLACK_BYTES), MAX_FILE_BYTES)
        return UNANNOUNCED_BYTES

    def finish(self, path: Path) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, path)

    def discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _reset(self) -> None:
        self.size = 0
        self.total: int | None = None
        self.validator: str | None = None
        self.digest = hashlib.sha256()
        self._block.clear()
        if self._copy is not None:
            self._copy.start_over()
