"""Drawing a sheet: one ffmpeg graph, one PNG, the same bytes for the same pictures.

The bytes decide the generation's key, so a sheet that is drawn again is not paid for again.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from prefect_ltx.media import (
    BITEXACT,
    MediaInfo,
    generator,
    plain_picture,
    probe,
    run_ffmpeg,
    sha256_file,
    source,
    target,
    verify_image,
)
from prefect_ltx.sheets.errors import SheetInvalid
from prefect_ltx.sheets.layout import GUTTER, MOST_PANELS, Box, Layout, arrange

_SMALL_PANEL = 128


class SheetImage(BaseModel):
    """One picture for a sheet: a local file, and whether it is a subject (character, prop) or the place."""

    model_config = ConfigDict(frozen=True)

    path: Path
    role: Literal["subject", "location"] = "subject"


class ReferenceSheet(BaseModel):
    """A sheet that was drawn: its file, what stands where (in the order of the images), and warnings."""

    model_config = ConfigDict(frozen=True)

    path: Path
    sha256: str
    width: int
    height: int
    panels: list[Box]
    warnings: list[str]


async def build_reference_sheet(
    images: Sequence[SheetImage | Path | str],
    layout: Layout = "auto",
    *,
    path: Path | str,
    width: int = 1536,
    height: int = 896,
    gutter: int = GUTTER,
) -> ReferenceSheet:
    """Draw the ingredient endpoint's sheet as a PNG at `path`: panels on black, uncropped, no text.

    Args:
        images: pictures to preserve, most important first; at most one with the role `location`. Of an
            animated picture the first frame counts; what is transparent becomes black.
        layout: `single`, `grid`, `band` (subjects above, the location in a band below), or `auto`.
        path: where the PNG goes; its folder is made.
        width: of the canvas in pixels; `sheet_size` gives a canvas with a video's aspect.
        height: of the canvas in pixels.
        gutter: black between panels, 12 to 16 pixels.

    Raises:
        SheetInvalid: no pictures, more than eight, two locations, or no room.
        MediaInvalid: a picture is missing or cannot be read.
        FfmpegFailed: ffmpeg is missing or failed.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise SheetInvalid("a sheet is written as .png: every compression but a lossless one blurs its edges")
    chosen = [each if isinstance(each, SheetImage) else SheetImage(path=Path(each)) for each in images]
    places = [index for index, each in enumerate(chosen) if each.role == "location"]
    if len(places) > 1:
        raise SheetInvalid(f"a sheet has one location, not {len(places)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sheet-", dir=path.parent) as folder:
        # As a viewer shows them: upright, in sRGB, of an animation the first frame.
        plain = [await plain_picture(each.path, Path(folder)) for each in chosen]
        found = [
            await asyncio.to_thread(_picture, each, one.path) for each, one in zip(plain, chosen, strict=True)
        ]
        boxes = arrange(
            [(each.width, each.height) for each in found],
            width=width,
            height=height,
            layout=layout,
            location=places[0] if places else None,
            gutter=gutter,
        )
        await run_ffmpeg(_graph(plain, boxes, width, height, path))
    await verify_image(path, width=width, height=height)
    return ReferenceSheet(
        path=path,
        sha256=await asyncio.to_thread(sha256_file, path),
        width=width,
        height=height,
        panels=boxes,
        warnings=_warnings(boxes),
    )


def _picture(path: Path, original: Path) -> MediaInfo:
    info = probe(path)
    if info.kind != "image":
        raise SheetInvalid(f"{original.name} is a video; a sheet is made of pictures")
    return info


def _graph(paths: list[Path], boxes: list[Box], width: int, height: int, path: Path) -> Any:
    sheet = generator(f"color=c=black:s={width}x{height}:r=1:d=1").video.filter("format", "gbrp")
    for place, (picture, box) in enumerate(zip(paths, boxes, strict=True)):
        panel = (
            # The same picture twice would be one node of the graph; its place keeps them apart.
            source(picture, thread_queue_size=8 + place)
            .video.filter("trim", end_frame=1)
            .filter("setpts", "0")
            .filter(
                "scale",
                box.width,
                box.height,
                force_original_aspect_ratio="decrease",
                flags="lanczos+accurate_rnd+full_chroma_int+bitexact",
            )
            .filter("setsar", 1)
            .filter("format", "gbrap")
        )
        x, y = f"{box.x}+({box.width}-w)/2", f"{box.y}+({box.height}-h)/2"
        sheet = sheet.overlay(panel, x=x, y=y, format="gbrp", eof_action="repeat")
    return target(sheet.filter("format", "rgb24"), path=path, **BITEXACT)


def _warnings(boxes: list[Box]) -> list[str]:
    found = []
    if len(boxes) > MOST_PANELS:
        found.append(
            f"{len(boxes)} panels: above {MOST_PANELS} the model loses identities; use fewer pictures."
        )
    small = [index + 1 for index, box in enumerate(boxes) if min(box.width, box.height) < _SMALL_PANEL]
    if small:
        numbers = ", ".join(map(str, small))
        found.append(f"Panel {numbers} is under {_SMALL_PANEL} pixels: small panels lose their identity.")
    return found
