"""The last frame of a video as a picture: exactly that frame, upright, in square pixels and in the colours shown."""

import asyncio
from pathlib import Path

from PIL import Image

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.graph import BITEXACT, BT709, source, target
from prefect_ltx.media.probe import probe
from prefect_ltx.media.process import run_ffmpeg
from prefect_ltx.media.shown import EXACT, in_bt709, shown


async def last_frame(video: Path, path: Path, *, timeout: float = 300) -> Path:
    """Write the last frame of `video` to `path` as a PNG in sRGB; the same video gives the same bytes.

    Raises:
        MediaInvalid: it is a still, or its last frame cannot be decoded.
        FfmpegFailed: ffmpeg failed.
    """
    info = await asyncio.to_thread(probe, video)
    if info.kind != "video" or not info.frames:
        raise MediaInvalid(video.name, ["it has no frames to take the last one of"])
    picture = in_bt709(shown(source(video), info), info).filter("setparams", **BT709)
    picture = picture.filter("select", f"gte(n,{info.frames - 1})")
    width, height = info.shown_size
    picture = picture.filter("scale", width, height, in_color_matrix="bt709", flags=EXACT)
    picture = picture.filter("setsar", 1).filter("format", "rgb24")
    raw = path.with_suffix(".raw.png")
    try:
        await run_ffmpeg(target(picture, path=raw, fps_mode="passthrough", **BITEXACT), timeout=timeout)
        if not raw.is_file():
            raise MediaInvalid(video.name, [f"frame {info.frames} of {info.frames} cannot be decoded"])
        await asyncio.to_thread(_plain, raw, path)
    finally:
        raw.unlink(missing_ok=True)
    return path


def _plain(raw: Path, path: Path) -> None:
    """The numbers alone: what ffmpeg says beside them of the video's colours would be applied a second time."""
    with Image.open(raw) as image:
        pixels = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    pixels.save(path, "PNG", compress_level=6)
