"""What an MP4 says of itself, gathered while its bytes go by: size, frames, length, sound and title.

`archive verify` reads every byte anyway. Here the index (`moov`, ISO/IEC 14496-12) is kept as it passes, in bounded
memory, and read without a decoder: a film under another film's manifest has the right hash and the wrong facts.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

_MOST_INDEX: Final = 32 << 20
"""Bytes of an index that are kept; a file with a larger one is not judged."""
_MOST_BOXES: Final = 20_000
_TITLE: Final = b"\xa9nam"


class Mp4Facts(NamedTuple):
    """As the index says; sizes in pixels as coded, seconds of the longest track. None: it does not say."""

    width: int
    height: int
    frames: int | None
    seconds: float
    audio: bool
    title: str


class Mp4Watcher:
    """Feed it a file's pieces in order, then ask for its `facts`."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._kept: bytearray | None = None
        self._index = b""
        self._stopped = False
        self._fragmented = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece, of any length."""
        at = 0
        while at < len(piece) and not self._stopped:
            if self._left:
                step = min(self._left, len(piece) - at)
                if self._kept is not None:
                    self._kept += piece[at : at + step]
                self._left -= step
                at += step
                if not self._left and self._kept is not None:
                    self._index, self._kept = bytes(self._kept), None
                continue
            need = 16 if self._head[:4] == b"\0\0\0\1" else 8
            take = min(need - len(self._head), len(piece) - at)
            self._head += piece[at : at + take]
            at += take
            if len(self._head) == need and (need == 16 or self._head[:4] != b"\0\0\0\1"):
                self._begin()

    def facts(self) -> Mp4Facts | None:
        """What the index says; None where it is missing or unreadable."""
        if not self._index:
            return None
        try:
            return _read_index(self._index, self._fragmented)
        except (struct.error, ValueError, LookupError, ZeroDivisionError, OverflowError, StopIteration):
            return None

    def _begin(self) -> None:
        size, kind = struct.unpack(">I4s", self._head[:8])
        header = len(self._head)
        if size == 1:
            (size,) = struct.unpack(">Q", self._head[8:16])
        self._head = b""
        self._fragmented |= kind == b"moof"
        # 0: to the end of the file; less than its own header: no MP4.
        if size < header:
            self._stopped = True
            return
        self._left = size - header
        if kind == b"moov" and not self._index and 0 < self._left <= _MOST_INDEX:
            self._kept = bytearray()


class _Box(NamedTuple):
    kind: bytes
    body: bytes


def _read_index(index: bytes, fragmented: bool) -> Mp4Facts | None:
    budget = iter(range(_MOST_BOXES))
    boxes = list(_boxes(index, budget))
    fragmented = fragmented or any(each.kind == b"mvex" for each in boxes)
    scale, _ = _timing(next(each.body for each in boxes if each.kind == b"mvhd"))
    tracks = [_track(each.body, scale, budget) for each in boxes if each.kind == b"trak"]
    pictures = [each for each in tracks if each.handler == b"vide"]
    if not pictures:
        return None
    # The one that a player shows (`media.streams`): no still beside a moving picture, and the one that is switched on.
    shown = [each for each in pictures if each.samples > 1 or fragmented] or pictures
    first = next((each for each in shown if each.enabled), shown[0])
    return Mp4Facts(
        width=first.width,
        height=first.height,
        frames=None if fragmented or first.hides_frames else first.samples,
        seconds=max(each.seconds for each in tracks),
        audio=any(each.handler == b"soun" for each in tracks),
        title=_title(boxes, budget),
    )


class _Track(NamedTuple):
    handler: bytes
    width: int
    height: int
    samples: int
    seconds: float
    hides_frames: bool
    enabled: bool


def _track(trak: bytes, movie_scale: int, budget: Iterator[int]) -> _Track:
    parts = {each.kind: each.body for each in _boxes(trak, budget)}
    media = {each.kind: each.body for each in _boxes(parts.get(b"mdia", b""), budget)}
    info = {each.kind: each.body for each in _boxes(media.get(b"minf", b""), budget)}
    table = {each.kind: each.body for each in _boxes(info.get(b"stbl", b""), budget)}
    handler = media[b"hdlr"][8:12]
    scale, length = _timing(media[b"mdhd"])
    width = height = samples = 0
    if handler == b"vide":
        # The first entry of `stsd`: 8 bytes of head, 24 of a visual sample entry, then width and height.
        width, height = struct.unpack_from(">HH", table[b"stsd"], 8 + 8 + 24)
        (samples,) = struct.unpack_from(">I", table[b"stsz"], 8)
    seconds = length / scale
    shown = _shown(parts.get(b"edts", b""), movie_scale, budget)
    # It may also show some twice; half a frame is what its clock rounds.
    hides = shown is not None and samples > 0 and abs(shown - seconds) > 0.5 * seconds / samples
    enabled = bool(parts[b"tkhd"][3] & 1)
    heard = seconds if shown is None else min(seconds, shown)
    return _Track(handler, width, height, samples, heard, hides, enabled)


def _timing(header: bytes) -> tuple[int, int]:
    """Ticks per second and the length in ticks, of an `mvhd` or `mdhd`."""
    if header[0] == 1:
        scale, length = struct.unpack_from(">IQ", header, 20)
    else:
        scale, length = struct.unpack_from(">II", header, 12)
    return scale, length


def _shown(edts: bytes, movie_scale: int, budget: Iterator[int]) -> float | None:
    """The seconds that an edit list shows of a track; None without one. A cut without re-encoding hides frames so."""
    lists = [each.body for each in _boxes(edts, budget) if each.kind == b"elst"]
    if not lists:
        return None
    (count,) = struct.unpack_from(">I", lists[0], 4)
    wide = lists[0][0] == 1
    ticks = 0
    for number in range(min(count, 1000)):
        length, start = struct.unpack_from(
            ">Qq" if wide else ">Ii", lists[0], 8 + number * (20 if wide else 12)
        )
        ticks += length if start >= 0 else 0
    return ticks / movie_scale


def _title(boxes: list[_Box], budget: Iterator[int]) -> str:
    for name in (b"udta", b"meta", b"ilst", _TITLE, b"data"):
        found = next((each.body for each in boxes if each.kind == name), None)
        if found is None:
            return ""
        if name == b"data":
            return found[8:].decode("utf-8", "replace")
        boxes = list(_boxes(found[4:] if name == b"meta" else found, budget))
    return ""


def _boxes(data: bytes, budget: Iterator[int]) -> Iterator[_Box]:
    at = 0
    while at + 8 <= len(data):
        if next(budget, None) is None:
            raise ValueError("more boxes than any index has")
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == 0:
            size = len(data) - at
        if size < head or at + size > len(data):
            raise ValueError("a box that does not fit")
        yield _Box(kind, data[at + head : at + size])
        at += size


def contradictions(facts: Mapping[str, JsonValue], title: str | None, found: Mp4Facts) -> list[str]:
    """In which ways a file is not what its manifest describes; empty where nothing contradicts.

    Args:
        facts: of the manifest, as they were measured when the file was archived; what is missing is not compared.
        title: what a film is called; None for anything else, whose titles are the models' own.
        found: what the file says of itself.
    """
    if "problem" in facts:
        return []  # it did not decode when it was archived, which the manifest says
    wrong = []
    size = (facts.get("width"), facts.get("height"))
    if all(isinstance(each, int) for each in size) and size not in (
        (found.width, found.height),
        (found.height, found.width),  # turned by its header
    ):
        wrong.append(f"{found.width}x{found.height} in place of {size[0]}x{size[1]}")
    frames = facts.get("num_frames", facts.get("frames"))
    if isinstance(frames, int) and found.frames is not None and frames != found.frames:
        wrong.append(f"{found.frames} frames in place of {frames}")
    if isinstance(audio := facts.get("audio"), bool) and audio != found.audio:
        wrong.append(
            "has sound, and should have none" if found.audio else "has no sound, and should have some"
        )
    if title is not None and title.split() != found.title.split():
        wrong.append(f"its title is {found.title[:80]!r} in place of {title[:80]!r}")
    return wrong
