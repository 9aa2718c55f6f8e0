"""What an editor needs to see on an animatic: shot, text, frame and timecode, and where a shot starts from."""

import asyncio
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image, ImageDraw

from prefect_ltx.film.captions import Font, fitted, font_for, laid_over, line_height, wrapped, write_strips
from prefect_ltx.film.timeline import Timeline
from prefect_ltx.media import probe, run_ffmpeg, source, target, verify_video
from prefect_ltx.media.shown import own_clock, shown

_SHADE: Final = (0, 0, 0, 190)
_TEXT_LINES: Final = 2


class SlateText(NamedTuple):
    """The texts of one shot's slate."""

    shot: str
    title: str
    text: str
    start_from: str | None = None


async def burn_slates(
    film: Path, path: Path, timeline: Timeline, texts: Sequence[SlateText], *, timeout: float = 3600
) -> Path:
    """Write the film again with a slate over the upper part of each frame; its sound and chapters stay.

    Raises:
        MediaError: ffmpeg failed, or the file did not come out as the film.
    """
    info = await asyncio.to_thread(probe, film)
    strips = path.with_name(f".{path.name}.slates.png")
    part = path.with_name(f".{path.name}.part.mp4")
    try:
        await asyncio.to_thread(write_strips, strips, slates(timeline, texts, info.width, info.height))
        origin = source(film)
        picture = laid_over(shown(origin, info), strips, timeline.fps, top=True)
        rate = timeline.fps
        options: dict[str, Any] = {
            "c:v": "libx264",
            "preset": "veryfast",
            "crf": 18,
            "pix_fmt": "yuv420p",
            "r": f"{rate.numerator}/{rate.denominator}",
            "frames:v": timeline.frames,
            "video_track_timescale": rate.numerator * (1 if rate.numerator >= 10_000 else 512),
            "movflags": "+faststart",
        }
        streams = [picture]
        if info.audio is not None:
            streams.append(origin[str(info.audio.stream)])
            options["c:a"] = "copy"
        graph = target(*streams, path=part, **options)
        await run_ffmpeg(own_clock(graph), expected_frames=timeline.frames, timeout=timeout)
        await verify_video(part, frames=timeline.frames, fps=rate, audio=info.audio is not None)
        part.replace(path)
    finally:
        strips.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return path


def slates(
    timeline: Timeline, texts: Sequence[SlateText], width: int, height: int
) -> Iterator[tuple[Image.Image, int]]:
    """One strip for each frame of the film."""
    font = font_for(height, 0.045)
    step = line_height(font)
    high = (2 + _TEXT_LINES) * step + step // 2
    chapters = timeline.chapters()
    for (_, start, end), span, text in zip(chapters, timeline.spans, texts, strict=True):
        below = _words(text, font, width, high, step)
        for frame in range(start, end):
            strip = below.copy()
            counted = f"{frame - span.start + 1}/{span.frames}  {timecode(frame, timeline.fps)}"
            pen = ImageDraw.Draw(strip)
            pen.text(
                (step // 2, step // 4 + step), fitted(font, counted, width - step), font=font, fill="white"
            )
            yield strip, 1


def timecode(frame: int, fps: Fraction) -> str:
    """Hours, minutes, seconds and frames of the film, counted in whole frames a second (without drops)."""
    base = max(1, round(fps))
    seconds, rest = divmod(frame, base)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}"


def _words(text: SlateText, font: Font, width: int, high: int, step: int) -> Image.Image:
    strip = Image.new("RGBA", (width, high + high % 2), _SHADE)
    pen = ImageDraw.Draw(strip)
    name = text.shot if text.title == text.shot else f"{text.shot} · {text.title}"
    if text.start_from is not None:
        name += f"  < {text.start_from}"
    inside = width - step
    pen.text((step // 2, step // 4), fitted(font, name, inside), font=font, fill="white")
    for number, line in enumerate(wrapped(font, text.text, inside, _TEXT_LINES)):
        pen.text((step // 2, step // 4 + (2 + number) * step), line, font=font, fill=(220, 220, 220, 255))
    return strip
