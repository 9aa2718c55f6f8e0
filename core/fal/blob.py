"""Bytes to upload, from memory or from a file, read in pieces so that a large file never fills the memory."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from prefect_ltx.fal.errors import FalRequestInvalid

_CHUNK: Final = 1024 * 1024


class Blob:
    """`source` as `size` bytes that can be read again and again."""

    def __init__(self, source: bytes | Path) -> None:
        """Take the size now.

        Raises:
            FalRequestInvalid: when the file does not exist, cannot be read or is empty.
        """
        self._source = source
        self.size = len(source) if isinstance(source, bytes) else _size(source)
        if self.size == 0:
            raise FalRequestInvalid("There is nothing to upload: the file is empty")

    async def piece(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end.

        Raises:
            FalRequestInvalid: when the file has become shorter or has gone meanwhile.
        """
        if isinstance(self._source, bytes):
            return self._source[offset : offset + length]
        try:
            piece = await asyncio.to_thread(_read, self._source, offset, length)
        except OSError as error:
            raise _unreadable(self._source, error) from None
        if len(piece) < min(length, self.size - offset):
            raise FalRequestInvalid(f"{self._source} changed while it was uploaded")
        return piece

    async def stream(self) -> AsyncIterator[bytes]:
        """All of it, in pieces of 1 MiB."""
        for offset in range(0, self.size, _CHUNK):
            yield await self.piece(offset, min(_CHUNK, self.size - offset))


def _size(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> FalRequestInvalid:
    return FalRequestInvalid(f"Cannot read {path}: {error.strerror or type(error).__name__}")


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
