"""The body of an S3 request, handed to the network piece by piece.

A plain `bytes` body would be copied whole by aiohttp and once more by the event loop's TLS, which costs more than
the encryption does; and a file that is read whole costs more for the memory than for the reading.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

_PIECE: Final = 1 << 17


class Body(ABC):
    """Bytes as botocore wants them for its signature (`read`, `seek`, `tell`) and aiohttp for sending.

    It may be sent again, but not twice at the same time.
    """

    def __init__(self, size: int) -> None:
        """Begin at the first of `size` bytes."""
        self._size = size
        self._at = 0

    @abstractmethod
    def _bytes(self, start: int, end: int) -> bytes | memoryview:
        """Return those bytes, all of them."""

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, all that are left for -1."""
        end = min(self._at + size, self._size) if size >= 0 else self._size
        piece = bytes(self._bytes(self._at, end))
        self._at = end
        return piece

    def seek(self, at: int) -> int:
        """Go on at byte `at`."""
        self._at = at
        return at

    def tell(self) -> int:
        """Return where `read` goes on."""
        return self._at

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        for start in range(0, self._size, _PIECE):
            yield self._bytes(start, min(start + _PIECE, self._size))


class BytesBody(Body):
    """Bytes in memory, shown without copying them."""

    def __init__(self, data: bytes | bytearray) -> None:
        """Show `data`, which must not change before it is sent."""
        super().__init__(len(data))
        self._data = memoryview(data)

    def _bytes(self, start: int, end: int) -> memoryview:
        return self._data[start:end]


class FileBody(Body):
    """A part of an open file, read while it is sent.

    It is read in the event loop, so it should have been read a moment ago, to be hashed: then the system has it in
    memory. The checksum of the request is what tells if the file has changed since.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        """Show `size` bytes of `file` (unbuffered, used by nobody but bodies) from `start` on."""
        super().__init__(size)
        self._file = file
        self._start = start

    def _bytes(self, start: int, end: int) -> bytes:
        self._file.seek(self._start + start)
        found = self._file.read(end - start)
        if len(found) != end - start:
            raise OSError("The file became shorter while it was sent")
        return found
