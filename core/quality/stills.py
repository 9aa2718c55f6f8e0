"""The reference sheet as pictures that a clip may show: the whole of it, and each of its panels (`media.panels`)."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prefect_ltx.media import MediaInvalid, find_panels, probe, read_picture


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
    panels = _boxes(sheet, info.width, info.height)
    stills = [Still("sheet", whole, cover=False)]
    if len(panels) > 1:
        stills += [Still(f"panel {number}", panel, cover=True) for number, panel in enumerate(panels, 1)]
    return stills


def _boxes(sheet: Path, width: int, height: int) -> list[Box]:
    """The sheet's panels in pixels, rounded outwards."""
    return [
        Box(
            math.floor(panel.left * width),
            math.floor(panel.top * height),
            math.ceil(panel.right * width),
            math.ceil(panel.bottom * height),
        )
        for panel in find_panels(read_picture(sheet))
    ]
