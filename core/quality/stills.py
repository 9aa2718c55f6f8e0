"""The reference sheet as pictures that a clip may show: the whole of it, and each of its panels.

Panels are rectangles between black gutters (ltx-model §5); they are found by cutting the sheet along rows and
columns that are black from end to end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import av

from prefect_ltx.media import MediaInvalid, probe, sniff

_SCAN_WIDTH: Final = 480
_BLACK: Final = 24
_SMALLEST_SIDE: Final = 0.12
_MOST_PANELS: Final = 8


class Box(NamedTuple):
    """A rectangle in pixels of the sheet; ends are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Still:
    """A part of a picture, by name (`sheet`, `panel 2`), to be compared with a clip."""

    name: str
    box: Box
    cover: bool
    """Fill the frame and cut what stands out; else fit into it, on black."""

    def picture(self, sheet: Any, size: tuple[int, int]) -> Any:
        """One frame of `size`, made of an ffmpeg-python stream of the sheet."""
        left, top, right, bottom = self.box
        part = sheet.filter("crop", right - left, bottom - top, left, top)
        fit = "increase" if self.cover else "decrease"
        part = part.filter("scale", *size, force_original_aspect_ratio=fit)
        if self.cover:
            return part.filter("crop", *size)
        return part.filter("pad", *size, "(ow-iw)/2", "(oh-ih)/2")


def stills_of(sheet: Path) -> list[Still]:
    """The whole sheet first, then its panels, where it has more than one.

    Raises:
        MediaInvalid: it is no image.
    """
    info = probe(sheet)
    if info.kind != "image":
        raise MediaInvalid(sheet.name, ["a reference sheet is an image"])
    whole = Box(0, 0, info.width, info.height)
    panels = find_panels(sheet, info.width, info.height)
    stills = [Still("sheet", whole, cover=False)]
    if len(panels) > 1:
        stills += [Still(f"panel {number}", panel, cover=True) for number, panel in enumerate(panels, 1)]
    return stills


def find_panels(sheet: Path, width: int, height: int) -> list[Box]:
    """The rectangles between black gutters, top left first; at most eight, small ones left out."""
    with av.open(f"file:{sheet.absolute()}", format=sniff(sheet).demuxer) as container:
        frame = next(container.decode(video=0))
    across = min(width, _SCAN_WIDTH)
    down = max(1, round(height * across / width))
    plane = frame.reformat(across, down, "gray").planes[0]
    data = bytes(plane)
    rows = [data[y * plane.line_size : y * plane.line_size + across] for y in range(down)]
    found = []
    for left, top, right, bottom in _cut(rows, Box(0, 0, across, down)):
        if right - left >= _SMALLEST_SIDE * across and bottom - top >= _SMALLEST_SIDE * down:
            found.append(
                Box(
                    left * width // across,
                    top * height // down,
                    -(-right * width // across),
                    -(-bottom * height // down),
                )
            )
    return found[:_MOST_PANELS]


def _cut(rows: list[bytes], box: Box) -> Iterator[Box]:
    """Split along black rows, then along black columns, until neither does anything."""
    parts = [each for band in _bands(rows, box) for each in _columns(rows, band)]
    if parts == [box]:
        yield box
        return
    for part in parts:
        yield from _cut(rows, part)


def _bands(rows: list[bytes], box: Box) -> list[Box]:
    lit = [max(row[box.left : box.right]) > _BLACK for row in rows[box.top : box.bottom]]
    return [Box(box.left, box.top + a, box.right, box.top + b) for a, b in _runs(lit)]


def _columns(rows: list[bytes], box: Box) -> list[Box]:
    inside = [row[box.left : box.right] for row in rows[box.top : box.bottom]]
    lit = [max(column) > _BLACK for column in zip(*inside, strict=True)]
    return [Box(box.left + a, box.top, box.left + b, box.bottom) for a, b in _runs(lit)]


def _runs(lit: list[bool]) -> list[tuple[int, int]]:
    edges = [
        at for at in range(len(lit) + 1) if (lit[at - 1] if at else False) != (at < len(lit) and lit[at])
    ]
    return list(zip(edges[::2], edges[1::2], strict=True))
