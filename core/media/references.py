"""Pictures and videos that fal does not take, made into ones that it does: what people have on phones and disks.

A picture becomes a PNG, upright and in sRGB; a video an MP4 (H.264, AAC) of square pixels and whole frames in BT.709.
The bundled libraries read all of it but the HEIC of many tiles that phones write: for that there is an extra.
"""

import asyncio
import math
import secrets
import struct
from pathlib import Path
from typing import Final, Literal, NamedTuple

from prefect_ltx.media.errors import FfmpegFailed, MediaInvalid
from prefect_ltx.media.graph import BITEXACT, BT709, source, target
from prefect_ltx.media.header import check_header
from prefect_ltx.media.info import MediaInfo
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat, sniff
from prefect_ltx.media.probe import probe
from prefect_ltx.media.process import run_ffmpeg
from prefect_ltx.media.recipe import Recipe, WebVideo
from prefect_ltx.media.renditions import render_renditions
from prefect_ltx.media.shape import even
from prefect_ltx.media.shown import in_bt709
from prefect_ltx.media.stills import plain_still

_RECIPE: Final = Recipe(
    name="reference", remove_lead_in=False, loudness=None, outputs=(WebVideo(name="reference", crf=12),)
)
_PICTURES: Final = ("avif", "heic")
_VIDEOS: Final = ("ts", "avi")
_STEADY: Final = 25
_FASTEST: Final = 50
_HEAD: Final = 1 << 20  # of a HEIC; its sizes come before its pixels
_REMEDY: Final = (
    "a kind of HEIC that the bundled ffmpeg does not read: install prefect-ltx[heic] with pip, "
    "or save it as JPEG or PNG"
)


class Converted(NamedTuple):
    """A file made of another, and what to say of it."""

    path: Path
    what: str


async def as_reference(
    path: Path,
    folder: Path,
    *,
    kind: Literal["video", "image", "any"] = "any",
    limits: Limits = DEFAULT_LIMITS,
) -> Converted | None:
    """Convert a file that fal does not take into one in `folder` that it does; None where it takes it as it is.

    Raises:
        MediaInvalid: it cannot be read; where something helps, the message says what.
        FfmpegFailed: ffmpeg failed.
    """
    known = sniff(path)
    if known.container in _PICTURES:
        made = await plain_picture(path, folder, limits=limits)
        return Converted(
            made, f"{path.name} ({known.container.upper()}) is converted to PNG before it is sent"
        )
    if known.container in _VIDEOS:
        (video,) = await render_renditions(
            path, folder / f"reference-{secrets.token_hex(8)}", recipe=_RECIPE, limits=limits
        )
        final = folder / f"reference-{secrets.token_hex(8)}.mp4"
        video.path.replace(final)
        video.path.parent.rmdir()
        return Converted(
            final, f"{path.name} ({known.container.upper()}) is converted to MP4 before it is sent"
        )
    if kind == "video" and known.kind == "image":
        info = await asyncio.to_thread(probe, path, limits=limits)
        if info.frames < 2:
            return None
        if known.container != "gif":
            raise MediaInvalid(
                path.name,
                [f"is an animated {known.container}, which is no video here: save it as GIF or MP4"],
            )
        made = await _moving(path, info, folder / f"reference-{secrets.token_hex(8)}.mp4", limits)
        return Converted(made, f"{path.name} (GIF) is converted to MP4 before it is sent")
    return None


async def plain_picture(path: Path, folder: Path, *, limits: Limits = DEFAULT_LIMITS) -> Path:
    """A picture file of whose pixels any decoder makes the picture: itself, or a PNG written to `folder`.

    What is no picture is given back as it is.

    Raises:
        MediaInvalid: it cannot be read; where something helps, the message says what.
        FfmpegFailed: ffmpeg is missing.
    """
    known = sniff(path)
    if known.kind != "image":
        return path  # what it is not, whoever wants a picture says
    await asyncio.to_thread(check_header, path, known, limits)
    if known.container == "heic":
        path = await _from_heic(path, known, folder, limits)
    return await asyncio.to_thread(plain_still, path, folder, limits=limits)


async def _moving(path: Path, info: MediaInfo, made: Path, limits: Limits) -> Path:
    # Frames of a GIF come as unevenly as somebody liked.
    rate = _STEADY if info.frame_rate <= _STEADY else min(_FASTEST, math.ceil(info.frame_rate))
    size = even(info.width), even(info.height)
    pictures = source(path, limits=limits)[str(info.stream)].filter("setpts", "PTS-STARTPTS")
    pictures = in_bt709(pictures.filter("fps", rate).filter("scale", *size), info).filter("setsar", 1)
    options = {
        "c:v": "libx264",
        "crf": 12,
        "x264-params": "threads=4:lookahead-threads=1",
        "movflags": "+faststart",
    }
    await run_ffmpeg(
        target(pictures.filter("setparams", **BT709), path=made, **options, **BITEXACT), limits=limits
    )
    return made


async def _from_heic(path: Path, known: MediaFormat, folder: Path, limits: Limits) -> Path:
    made = folder / f"heic-{secrets.token_hex(8)}.png"
    try:
        await run_ffmpeg(target(source(path, known=known, limits=limits).video, path=made), limits=limits)
        info = await asyncio.to_thread(probe, made, limits=limits)
        # Of a picture of tiles one tile would be read.
        if {info.width, info.height} == set(await asyncio.to_thread(_claimed, path)):
            return made
    except FfmpegFailed:
        pass
    made.unlink(missing_ok=True)
    return await asyncio.to_thread(_with_extra, path, made)


def _claimed(path: Path) -> tuple[int, int]:
    """The size of the largest picture that the file's `ispe` boxes (ISO/IEC 23008-12) name."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    sizes, at = [(0, 0)], head.find(b"ispe")
    while at >= 0 and at + 16 <= len(head):
        sizes.append(struct.unpack_from(">II", head, at + 8))
        at = head.find(b"ispe", at + 4)
    return max(sizes, key=lambda size: size[0] * size[1])


def _with_extra(path: Path, made: Path) -> Path:
    try:
        import pillow_heif
    except ImportError:
        raise MediaInvalid(path.name, [_REMEDY]) from None
    try:
        image = pillow_heif.open_heif(path).to_pillow()
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise MediaInvalid(path.name, [f"cannot be read as heic ({type(error).__name__})"]) from error
    image.save(made, "PNG", compress_level=1, icc_profile=image.info.get("icc_profile"))
    return made
