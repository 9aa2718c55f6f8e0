"""Where each panel of a sheet goes, as pure arithmetic.

Panels have the shape of their pictures, so that nothing is cropped and nothing is padded: the pictures of a row
have one height and exactly a gutter between them. Subjects stand above; the location is one band below, about
40 % of the height (ltx-model §5).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import Final, Literal, NamedTuple, get_args

from prefect_ltx.sheets.errors import SheetInvalid

Layout = Literal["auto", "single", "grid", "band"]
LAYOUTS: Final[tuple[str, ...]] = get_args(Layout)
GUTTER: Final = 14
GUTTERS: Final = range(12, 17)
MOST_PANELS: Final = 6
"""Above six panels each is too small to keep an identity."""
REFUSED_PANELS: Final = 9
BAND_SHARE: Final = Fraction(2, 5)
_LONG_SIDE: Final = 1536
_SMALLEST: Final = 48
_FLATTEST: Final = 4
"""Pictures flatter than 4:1 stand in a 4:1 cell, so that one does not take a row from the others."""


class Box(NamedTuple):
    """A rectangle in pixels from the top left corner."""

    x: int
    y: int
    width: int
    height: int


def sheet_size(width: int, height: int) -> tuple[int, int]:
    """The canvas for a video of this size: exactly its aspect, and at least 1536 pixels on the long side.

    A small video still gets a sheet whose panels can be told apart.
    """
    if min(width, height) < 1:
        raise SheetInvalid(f"a video of {width}x{height} has no size")
    across, down = width // gcd(width, height), height // gcd(width, height)
    scale = max(-(-_LONG_SIDE // max(across, down)), gcd(width, height))
    # H.264 and most models want even sides, and an even sheet scales to them without a seam.
    if (across * scale) % 2 or (down * scale) % 2:
        scale += scale % 2
    return across * scale, down * scale


def arrange(
    sizes: Sequence[tuple[int, int]],
    *,
    width: int,
    height: int,
    layout: Layout = "auto",
    location: int | None = None,
    gutter: int = GUTTER,
) -> list[Box]:
    """One box for each picture, in their order; each has its picture's shape to within a pixel.

    `sizes` are the pictures' own (width, height); `location` is the index of the one that is the place. `auto`
    is `single` for one picture, `band` where there is a location, `grid` otherwise.

    Raises:
        SheetInvalid: no picture, more than eight, a layout that does not fit them, or no room on the canvas.
    """
    if not sizes:
        raise SheetInvalid("a sheet needs at least one picture")
    if len(sizes) >= REFUSED_PANELS:
        raise SheetInvalid(
            f"{len(sizes)} pictures are too many for a sheet; 6 keep their identity, 8 at most"
        )
    if gutter not in GUTTERS:
        raise SheetInvalid(f"a gutter has 12 to 16 pixels, not {gutter}")
    shapes = [_shape(size) for size in sizes]
    kind = _kind(layout, len(sizes), location)
    if kind == "single":
        boxes = [_contained(shapes[0], Box(0, 0, width, height))]
    elif kind == "band":
        assert location is not None
        boxes = _band(shapes, location, width, height, gutter)
    else:
        inner = Box(gutter, gutter, width - 2 * gutter, height - 2 * gutter)
        boxes = _rows(shapes, inner, gutter)
    if min(min(box.width, box.height) for box in boxes) < min(_SMALLEST, min(width, height) // 4):
        raise SheetInvalid(f"{len(sizes)} pictures of these shapes have no room on {width}x{height} pixels")
    return boxes


def _kind(layout: Layout, count: int, location: int | None) -> Literal["single", "grid", "band"]:
    if layout == "auto":
        return "single" if count == 1 else "band" if location is not None else "grid"
    if layout not in LAYOUTS:
        raise SheetInvalid(f"no layout is called {layout!r}; there are {', '.join(LAYOUTS)}")
    if layout == "single" and count != 1:
        raise SheetInvalid(f"the layout single takes one picture, not {count}")
    if layout == "band" and (location is None or count < 2):
        raise SheetInvalid("the layout band needs a location and at least one other picture")
    return layout


def _shape(size: tuple[int, int]) -> Fraction:
    if min(size) < 1:
        raise SheetInvalid(f"a picture of {size[0]}x{size[1]} has no size")
    return min(max(Fraction(*size), Fraction(1, _FLATTEST)), Fraction(_FLATTEST))


def _band(shapes: list[Fraction], location: int, width: int, height: int, gutter: int) -> list[Box]:
    room = height - 3 * gutter
    below = int(room * BAND_SHARE)
    place = _contained(shapes[location], Box(gutter, 2 * gutter + room - below, width - 2 * gutter, below))
    subjects = [shape for index, shape in enumerate(shapes) if index != location]
    boxes = _rows(subjects, Box(gutter, gutter, width - 2 * gutter, room - below), gutter)
    boxes.insert(location, place)
    return boxes


def _rows(shapes: list[Fraction], area: Box, gutter: int) -> list[Box]:
    """The split into rows that shows the most of all pictures; the fewest rows where two are equal."""
    splits = (_split(shapes, rows) for rows in range(1, len(shapes) + 1))
    layouts = (_stacked(rows, area, gutter) for rows in splits)
    return max(layouts, key=lambda boxes: sum(max(box.width, 0) * max(box.height, 0) for box in boxes))


def _split(shapes: list[Fraction], rows: int) -> list[list[Fraction]]:
    fewest, extra = divmod(len(shapes), rows)
    found, start = [], 0
    for row in range(rows):
        end = start + fewest + (row < extra)
        found.append(shapes[start:end])
        start = end
    return found


def _stacked(rows: list[list[Fraction]], area: Box, gutter: int) -> list[Box]:
    most = (area.height - (len(rows) - 1) * gutter) // len(rows)
    heights = [max(1, min(most, int((area.width - (len(row) - 1) * gutter) / sum(row)))) for row in rows]
    top = area.y + (area.height - sum(heights) - (len(rows) - 1) * gutter) // 2
    boxes = []
    for row, height in zip(rows, heights, strict=True):
        widths = [max(1, int(shape * height)) for shape in row]
        left = area.x + (area.width - sum(widths) - (len(row) - 1) * gutter) // 2
        for width in widths:
            boxes.append(Box(left, top, width, height))
            left += width + gutter
        top += height + gutter
    return boxes


def _contained(shape: Fraction, area: Box) -> Box:
    width = max(1, min(area.width, int(area.height * shape)))
    height = max(1, min(area.height, int(area.width / shape)))
    return Box(area.x + (area.width - width) // 2, area.y + (area.height - height) // 2, width, height)
