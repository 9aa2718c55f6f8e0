"""Metadata into an MP4 without touching its streams: a comment in `moov/udta`, XMP in a box at the end.

The comment is what ffprobe, exiftool and players show (iTunes' `©cmt`). XMP lies in the `uuid` box that Adobe's
specification names for MP4; at the end of the file it moves nothing. The comment makes `moov` longer, so where
the data follows it every chunk offset grows by as much. In a fragmented file and in one that others point into
by byte ranges nothing may move, so it gets the XMP only.
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

XMP_UUID: Final = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_COMMENT: Final = b"\xa9cmt"
_MOST_MOOV: Final = 64 << 20
_CONTAINERS: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


class Mp4Malformed(Exception):  # noqa: D101 - never leaves this room
    pass


class _Box(NamedTuple):
    kind: bytes
    start: int
    body: int
    end: int


Outcome = Literal["tagged", "appended", "left"]


def write_marked_mp4(source: Path, out: Path, *, comment: str, xmp: bytes) -> Outcome:
    """Copy an MP4 with metadata: `tagged` with both, or XMP `appended` only, where nothing may move.

    `left`: it has XMP already, and nothing was written.

    Raises:
        Mp4Malformed: its boxes do not add up.
        OSError: it cannot be read or written.
    """
    size = source.stat().st_size
    with source.open("rb") as file:
        boxes = _boxes(file, 0, size)
        if any(_is_xmp(file, box) for box in boxes):
            return "left"
        moov = next((box for box in boxes if box.kind == b"moov"), None)
        fixed = moov is None or any(box.kind in (b"moof", b"sidx") for box in boxes)
        with out.open("wb") as target:
            if moov is None or fixed:
                _copy(file, target, 0, size)
            else:
                data = _moov_with_comment(file, moov, comment, boxes)
                fixed = data is None
                _copy(file, target, 0, moov.start if data else size)
                if data is not None:
                    target.write(data)
                    _copy(file, target, moov.end, size)
            target.write(_box(b"uuid", XMP_UUID + xmp))
    return "appended" if fixed else "tagged"


def _moov_with_comment(file: BinaryIO, moov: _Box, comment: str, boxes: list[_Box]) -> bytes | None:
    """The index with the comment; None for that of a fragmented file."""
    if moov.end - moov.start > _MOST_MOOV:
        raise Mp4Malformed("an index of more than 64 MiB")
    file.seek(moov.body)
    data = bytearray(file.read(moov.end - moov.body))
    inner = list(_inside(data, 0, len(data)))
    if any(kind == b"mvex" for kind, _, _, _ in inner):
        return None
    kept = b"".join(bytes(data[start:stop]) for kind, start, _, stop in inner if kind != b"udta")
    udta = b"".join(bytes(data[body:stop]) for kind, _, body, stop in inner if kind == b"udta")
    new = bytearray(kept + _udta_with_comment(bytearray(udta), comment))
    if any(box.kind == b"mdat" and box.start > moov.start for box in boxes):
        _shift(new, 0, len(new), moov.end, len(new) - len(data))
    return _box(b"moov", bytes(new))


def _udta_with_comment(udta: bytearray, comment: str) -> bytes:
    """The user data that is there, with the comment in place of any other."""
    others, items = b"", b""
    for kind, start, body, stop in _inside(udta, 0, len(udta)):
        if kind == b"meta" and b"mdir" in udta[body : body + 40]:
            for inner, _, first, last in _inside(udta, body + 4, stop):
                if inner == b"ilst":
                    tags = _inside(udta, first, last)
                    items = b"".join(bytes(udta[a:z]) for tag, a, _, z in tags if tag != _COMMENT)
        else:
            others += bytes(udta[start:stop])
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    value = _box(b"data", struct.pack(">II", 1, 0) + comment.encode())
    tags_box = _box(b"ilst", items + _box(_COMMENT, value))
    return _box(b"udta", others + _box(b"meta", bytes(4) + handler + tags_box))


def _shift(data: bytearray, start: int, end: int, beyond: int, by: int) -> None:
    """Add `by` to every chunk offset that points behind `beyond`."""
    for kind, _, body, stop in _inside(data, start, end):
        if kind in _CONTAINERS:
            _shift(data, body, stop, beyond, by)
        elif kind in (b"stco", b"co64"):
            code, width = (">I", 4) if kind == b"stco" else (">Q", 8)
            (count,) = struct.unpack_from(">I", data, body + 4)
            if body + 8 + count * width > stop:
                raise Mp4Malformed("a table that is longer than its box")
            for at in range(body + 8, body + 8 + count * width, width):
                (offset,) = struct.unpack_from(code, data, at)
                if offset >= beyond:
                    if width == 4 and offset + by >= 1 << 32:
                        raise Mp4Malformed("an offset that does not fit any more")
                    struct.pack_into(code, data, at, offset + by)


def _boxes(file: BinaryIO, start: int, end: int) -> list[_Box]:
    found = []
    while start < end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            raise Mp4Malformed("bytes behind its last box")
        size, kind = struct.unpack_from(">I4s", head)
        body = start + 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            body = start + 16
        stop = end if size == 0 else start + size
        if stop < body or stop > end:
            raise Mp4Malformed(f"a box of {size} bytes where {end - start} are left")
        found.append(_Box(kind, start, body, stop))
        start = stop
    if found and struct.unpack(">I", _at(file, found[-1].start, 4))[0] == 0:
        raise Mp4Malformed("a last box without a length, so that nothing can follow it")
    return found


def _inside(data: bytearray, start: int, end: int) -> list[tuple[bytes, int, int, int]]:
    found = []
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            raise Mp4Malformed(f"a box of {size} bytes where {end - start} are left")
        found.append((kind, start, start + 8, start + size))
        start += size
    return found


def _is_xmp(file: BinaryIO, box: _Box) -> bool:
    return box.kind == b"uuid" and _at(file, box.body, 16) == XMP_UUID


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _copy(file: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    file.seek(start)
    left = end - start
    while left > 0:
        piece = file.read(min(left, 1 << 20))
        if not piece:
            raise Mp4Malformed("it ended while it was copied")
        target.write(piece)
        left -= len(piece)
