"""The body of an S3 request, handed to the network piece by piece.

A plain `bytes` body would be copied whole by aiohttp and once more by the event loop's TLS, which costs more than
the encryption does.
"""

from collections.abc import AsyncIterator
from typing import Final

_PIECE: Final = 1 << 17


class Body:
    """Bytes as botocore wants them for its signature (`read`, `seek`, `tell`) and aiohttp for sending.

    It is for one request and one try of it.
    """

    def __init__(self, data: bytes | bytearray) -> None:
        """Show `data` without copying it."""
        self._data = memoryview(data)
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, all that are left for -1."""
        end = self._at + size if size >= 0 else len(self._data)
        piece = bytes(self._data[self._at : end])
        self._at += len(piece)
        return piece

    def seek(self, at: int) -> int:
        """Go on at byte `at`."""
        self._at = at
        return at

    def tell(self) -> int:
        """Return where `read` goes on."""
        return self._at

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for start in range(0, len(self._data), _PIECE):
            yield self._data[start : start + _PIECE]
