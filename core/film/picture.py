"""The film's picture as one graph: clips brought to one size and rate, then cut or cross-faded frame by frame."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, Self

import ffmpeg

from prefect_ltx.film.timeline import Timeline
from prefect_ltx.media import MediaInfo, source
from prefect_ltx.media.graph import BT709
from prefect_ltx.media.shape import inside
from prefect_ltx.media.shown import in_bt709, shown

if TYPE_CHECKING:
    from prefect_ltx.film.join import Clip


@dataclass(frozen=True)
class Canvas:
    """The film's size in pixels; both even."""

    width: int
    height: int

    @classmethod
    def of(cls, clips: "Sequence[Clip]", infos: Sequence[MediaInfo]) -> tuple[Self, list[str]]:
        """The most common size of the clips in square pixels, the first of two equally common, and who has another."""
        sizes = [info.shown_size for info in infos]
        width, height = Counter(sizes).most_common(1)[0][0]
        told = [
            f"shot {clip.shot} is {size[0]}x{size[1]}: fitted into {width}x{height}"
            for clip, size in zip(clips, sizes, strict=True)
            if size != (width, height)
        ]
        return cls(width + width % 2, height + height % 2), told


def joined_picture(
    clips: "Sequence[Clip]", infos: Sequence[MediaInfo], timeline: Timeline, canvas: Canvas
) -> Any:
    """A stream of exactly `timeline.frames` frames."""
    fps = timeline.fps
    whole: Any = None
    for index, (clip, info, span) in enumerate(zip(clips, infos, timeline.spans, strict=True)):
        picture = _conformed(clip, info, index, span.frames, fps, canvas)
        if whole is None:
            whole = picture
        elif span.overlap:
            # One tick of the time base is one frame, so these times are rounded to the exact frame.
            whole = ffmpeg.filter(
                [whole, picture],
                "xfade",
                transition="fade",
                duration=f"{float(span.overlap / fps):.6f}",
                offset=f"{float(span.start / fps):.6f}",
            )
        else:
            # What follows compares time bases, and concat has one of its own.
            whole = _counted(ffmpeg.concat(whole, picture, v=1, a=0), fps)
    return whole


def _conformed(clip: "Clip", info: MediaInfo, index: int, frames: int, fps: Fraction, canvas: Canvas) -> Any:
    # One clip may be two shots, and ffmpeg-python takes equal inputs for one: its place keeps them apart.
    picture = shown(source(clip.path, thread_queue_size=8 + index), info)
    if not info.constant or info.frame_rate != fps:
        picture = picture.filter("fps", f"{fps.numerator}/{fps.denominator}", start_time=0)
        # How many frames the filter makes of the last one depends on how long it is said to be shown.
        picture = picture.filter("tpad", stop=2 + ceil(info.last_seconds * fps), stop_mode="clone")
    picture = picture.filter("trim", start_frame=clip.skip, end_frame=clip.skip + frames)
    size = (canvas.width, canvas.height)
    if (info.width, info.height) != size or not info.square_pixels:
        picture = picture.filter("scale", *inside(info.shown_size, size), flags="lanczos")
        picture = picture.filter("setsar", 1).filter("pad", *size, x="(ow-iw)/2", y="(oh-ih)/2")
    return _counted(in_bt709(picture, info).filter("setsar", 1).filter("setparams", **BT709), fps)


def _counted(picture: Any, fps: Fraction) -> Any:
    return picture.filter("settb", f"{fps.denominator}/{fps.numerator}").filter("setpts", "N")
