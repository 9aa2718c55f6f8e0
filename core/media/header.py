"""What the header of an input claims, read before any library opens it, and held against the limits.

A few bytes can claim a picture of 65535 x 65535 pixels, two thousand million frames, or text that unpacks to
gigabytes; libraries allocate what a header claims before they find out that nothing is there.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat

_UNPACKED: Final = 16 * 1024**2  # a colour profile or a text in a PNG
_DEPTH: Final = 8
_BOXES: Final = 100_000
_PARENTS: Final = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"dinf")
)
_TABLES: Final = {  # where the number of entries stands in a table's box
    b"stts": 4,
    b"ctts": 4,
    b"stss": 4,
    b"stsc": 4,
    b"stco": 4,
    b"co64": 4,
    b"elst": 4,
    b"sdtp": None,
    b"stsz": 8,
    b"stz2": 8,
    b"trun": 4,
    b"stsd": 4,
    b"dref": 4,
}


def check_header(path: Path, known: MediaFormat, limits: Limits = DEFAULT_LIMITS) -> None:
    """Hold the size of a sniffed file and what its header claims against `limits`; reads no media data.

    Raises:
        MediaInvalid: it goes beyond a limit, or its structure does not add up.
    """
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise MediaInvalid(path.name, [f"{size} bytes, more than the limit of {limits.file_bytes}"])
    check = {"mov": _mp4, "png_pipe": _png, "jpeg_pipe": _jpeg, "gif": _gif}.get(known.demuxer)
    if check is None:
        return
    try:
        with path.open("rb") as file:
            check(path.name, file, size, limits)
    except (struct.error, OSError) as error:
        raise MediaInvalid(path.name, [f"cannot be read as {known.container} (a cut header)"]) from error


def check_picture(name: str, width: int, height: int, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a picture size beyond the limits.

    Raises:
        MediaInvalid: width times height is more than `limits.pixels`.
    """
    if width * height > limits.pixels:
        raise MediaInvalid(name, [f"{width}x{height} pixels, more than the limit of {limits.pixels}"])


def _mp4(name: str, file: BinaryIO, size: int, limits: Limits) -> None:
    tracks = entries = samples = 0
    for count, (kind, start, end) in enumerate(_boxes(file, 0, size, 0)):
        if count > _BOXES:
            raise MediaInvalid(name, [f"more than {_BOXES} boxes in its header"])
        tracks += kind == b"trak"
        if kind == b"cmov":
            raise MediaInvalid(name, ["its header is compressed, which this project does not read"])
        at = _TABLES.get(kind)
        if at is None:
            continue
        file.seek(start)
        body = file.read(min(end - start, 12))
        (claimed,) = struct.unpack_from(">I", body, at)
        entries += claimed
        if kind == b"stts":
            samples += _spread(file, start + 8, min(claimed, (end - start - 8) // 8, limits.index_entries))
        if max(entries, samples) > limits.index_entries:
            raise MediaInvalid(
                name, [f"its header claims {max(entries, samples)} entries, limit {limits.index_entries}"]
            )
    if tracks > limits.streams:
        raise MediaInvalid(name, [f"{tracks} streams, more than the limit of {limits.streams}"])


def _boxes(file: BinaryIO, at: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the contents of every box, parents before their children."""
    while at + 8 <= end:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            start += 8
        stop = min(at + length, end) if length else end
        if stop < start:
            return
        yield kind, start, stop
        if kind in _PARENTS and depth < _DEPTH:
            yield from _boxes(file, start, stop, depth + 1)
        at = stop


def _spread(file: BinaryIO, start: int, pairs: int) -> int:
    """How many samples a table of (count, duration) pairs stands for."""
    file.seek(start)
    return sum(count for count, _ in struct.iter_unpack(">II", file.read(max(0, pairs) * 8)))


def _png(name: str, file: BinaryIO, size: int, limits: Limits) -> None:
    at = 8
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IHDR":
            width, height = struct.unpack(">II", file.read(8))
            check_picture(name, width, height, limits)
        elif kind in (b"iCCP", b"zTXt", b"iTXt"):
            _bounded(name, file.read(min(length, size)))
        elif kind in (b"IDAT", b"IEND"):
            return
        at += 12 + length


def _bounded(name: str, chunk: bytes) -> None:
    # Keyword, zero, a byte or more of flags and texts, then a zlib stream: it begins with 0x78.
    start = chunk.find(b"\x78", chunk.find(b"\0") + 1)
    if start < 0:
        return
    try:
        unpacker = zlib.decompressobj()
        unpacker.decompress(chunk[start:], _UNPACKED)
    except zlib.error:
        return
    if unpacker.unconsumed_tail:
        raise MediaInvalid(name, [f"a text or profile in it unpacks to more than {_UNPACKED} bytes"])


def _jpeg(name: str, file: BinaryIO, size: int, limits: Limits) -> None:
    at = 2
    while at + 4 <= size:
        file.seek(at)
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or kind == 0xDA:
            return
        if kind == 0xFF:
            at += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            check_picture(name, width, height, limits)
        at += 2 + length


def _gif(name: str, file: BinaryIO, size: int, limits: Limits) -> None:
    file.seek(6)
    width, height = struct.unpack("<HH", file.read(4))
    check_picture(name, width, height, limits)
