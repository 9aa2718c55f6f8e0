"""The panels of a reference sheet: rectangles between black gutters (ltx-model §5), found by cutting along
them."""

from pathlib import Path
from typing import Final, NamedTuple

import av

from prefect_ltx.media.stills import read_still

_WIDTH: Final = 480
_BLACK: Final = 24
_SMALLEST: Final = 0.12
_MOST: Final = 8


class Panel(NamedTuple):
    """A rectangle as shares (0 to 1) of the sheet's width and height."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE: Final = Panel(0, 0, 1, 1)


def find_panels(sheet: av.VideoFrame) -> list[Panel]:
    """The sheet's panels, top left first; the whole picture where it has no gutters. At most eight."""
    width = min(sheet.width, _WIDTH)
    height = max(round(sheet.height * width / sheet.width), 1)
    gray = sheet.reformat(width, height, "gray")
    plane = gray.planes[0]
    data, stride = bytes(plane), plane.line_size
    rows = [data[y * stride : y * stride + width] for y in range(height)]
    boxes = _cut(rows, 0, 0, width, height, by_rows=True, tried=False)
    large = [
        Panel(left / width, top / height, right / width, bottom / height)
        for left, top, right, bottom in boxes
        if right - left >= _SMALLEST * width and bottom - top >= _SMALLEST * height
    ]
    return large[:_MOST] or [WHOLE]


def read_picture(path: Path) -> av.VideoFrame:
    """The first frame of an image file, as a viewer shows it."""
    frame: av.VideoFrame = av.VideoFrame.from_image(read_still(path).convert("RGB"))  # type: ignore[no-untyped-call]
    return frame


def _cut(
    rows: list[bytes], left: int, top: int, right: int, bottom: int, *, by_rows: bool, tried: bool
) -> list[tuple[int, int, int, int]]:
    """Split a box at its black lines, across and along in turn, until neither way splits it."""
    if by_rows:
        lit = [max(rows[y][left:right], default=0) > _BLACK for y in range(top, bottom)]
        spans = [(left, top + a, right, top + b) for a, b in _runs(lit)]
    else:
        columns = zip(*(rows[y][left:right] for y in range(top, bottom)), strict=True)
        lit = [max(column) > _BLACK for column in columns]
        spans = [(left + a, top, left + b, bottom) for a, b in _runs(lit)]
    if len(spans) == 1:
        if tried and spans[0] == (left, top, right, bottom):
            return spans
        unchanged = spans[0] == (left, top, right, bottom)
        return _cut(rows, *spans[0], by_rows=not by_rows, tried=unchanged)
    return [box for span in spans for box in _cut(rows, *span, by_rows=not by_rows, tried=False)]


def _runs(lit: list[bool]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    start = None
    for at, on in enumerate([*lit, False]):
        if on and start is None:
            start = at
        elif not on and start is not None:
            runs.append((start, at))
            start = None
    return runs
