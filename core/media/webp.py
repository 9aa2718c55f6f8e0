"""The structure of a WebP file, still or animated: canvas, frames and their times (RFC 9649)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from prefect_ltx.media.errors import MediaInvalid

_ANIMATED = 0x02
_FRAME_HEADER = 16


@dataclass(frozen=True)
class WebpHeader:
    """Canvas in pixels, number of frames, and the play time of all of them in milliseconds (0: a still)."""

    width: int
    height: int
    frames: int
    duration_ms: int

    @property
    def fps(self) -> Fraction:
        """Mean frame rate; 0 for a still."""
        return Fraction(self.frames * 1000, self.duration_ms) if self.duration_ms else Fraction(0)


def read_webp(path: Path) -> WebpHeader:
    """Walk the chunks of a WebP file, reading their headers only.

    Raises:
        MediaInvalid: the chunks do not add up to the file, or there is no picture in it.
    """
    canvas: tuple[int, int] | None = None
    frames = duration = 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
            end = 8 + struct.unpack("<I", head[4:8])[0]
            if end + end % 2 > size + 1 or end > size:
                raise MediaInvalid(path.name, [f"cut short: {size} of {end} bytes"])
            while file.tell() + 8 <= end:
                name, length = struct.unpack("<4sI", file.read(8))
                after = file.tell() + length + length % 2
                if file.tell() + length > end:
                    raise MediaInvalid(path.name, ["a chunk reaches past the end of the file"])
                data = file.read(min(length, 30))
                if name == b"VP8X":
                    canvas = (1 + _uint24(data, 4), 1 + _uint24(data, 7))
                elif name == b"ANMF":
                    frames += 1
                    duration += _uint24(data, 12)
                elif name in (b"VP8 ", b"VP8L"):
                    frames += 1
                    canvas = canvas or _bitstream_size(name, data)
                file.seek(after)
    except (OSError, struct.error, IndexError) as error:
        raise MediaInvalid(path.name, ["cannot be read as webp"]) from error
    if canvas is None or frames == 0:
        raise MediaInvalid(path.name, ["a WebP file without a picture"])
    return WebpHeader(*canvas, frames=frames, duration_ms=duration)


def webp_pictures(path: Path) -> Iterator[bytes]:
    """Each picture of a WebP file that `read_webp` accepts, as a WebP file of its own that any decoder reads."""
    data = path.read_bytes()
    if data[12:16] != b"VP8X" or not data[20] & _ANIMATED:
        yield data
        return
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"ANMF":
            picture = data[at + 8 + _FRAME_HEADER : at + 8 + length]
            yield b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture
        at += 8 + length + length % 2


def _uint24(data: bytes, at: int) -> int:
    low, middle, high = data[at], data[at + 1], data[at + 2]
    return low | middle << 8 | high << 16


def _bitstream_size(name: bytes, data: bytes) -> tuple[int, int]:
    if name == b"VP8L":
        bits = struct.unpack("<I", data[1:5])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[6:10])
    return width & 0x3FFF, height & 0x3FFF
