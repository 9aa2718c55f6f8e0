"""What a recipe makes of a clip before any output: which frames, how many a second, how large, which sound.

Pure arithmetic over a probed video and the times of its frames; every output is planned and checked against this.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.info import MediaInfo
from prefect_ltx.media.recipe import Recipe
from prefect_ltx.media.shown import is_hdr, is_other_colour

_FULL_RANGE = 2
_INSTANT = 1e-6
"""Seconds; times that lie closer are the same."""


@dataclass(frozen=True)
class Shape:
    """A clip after its operations: `frames` at `rate` of `width` x `height` pixels, and what that takes.

    `first` to `last` (exclusive) are the frames of the source that are kept. `sound_start` and `sound_seconds`
    are the part of its audio that goes with them, from the source's first frame on; None without audio.
    `duration` is that of the pictures in seconds, and `rate` their mean rate where they come unevenly. The last
    of the source's frames is shown for `last_seconds`. `uneven` says that frames keep times that are not even.
    """

    first: int
    last: int
    frames: int
    rate: Fraction
    duration: float
    last_seconds: float
    width: int
    height: int
    sound_start: float
    sound_seconds: float | None
    trimmed: bool
    retimed: bool
    uneven: bool
    scaled: bool
    tag_colour: bool
    convert_colour: bool

    @property
    def untouched(self) -> bool:
        """Whether the pictures are those of the source, so that they can be copied."""
        return not (self.trimmed or self.retimed or self.scaled or self.convert_colour)


def shape_of(
    info: MediaInfo,
    recipe: Recipe,
    *,
    name: str,
    lead_in_frames: int = 0,
    times: Sequence[float] | None = None,
) -> Shape:
    """Work out what is left of a clip; `times` of its frames, in seconds from the first, where they come unevenly.

    Raises:
        MediaInvalid: nothing is left, or a frame-rate change is asked of a video whose rate is unknown.
    """
    rate = info.frame_rate
    first = lead_in_frames if recipe.remove_lead_in else 0
    last = info.frames
    if (recipe.trim is not None or recipe.rate is not None) and rate == 0:
        raise MediaInvalid(name, ["its frame rate is unknown, so it cannot be trimmed or converted"])
    ends = _times_of(info, times)
    zero = ends[min(first, last)]
    if recipe.trim is not None and 0 <= first < last:
        if recipe.trim.end is not None:
            # The first frame that begins at the end or after it is not shown any more.
            last = min(last, bisect.bisect_left(ends, zero + recipe.trim.end - _INSTANT, 0, info.frames))
        first = _nearest(ends, zero + recipe.trim.start, info.frames)
    if not 0 <= first < last:
        raise MediaInvalid(name, [f"nothing of its {info.frames} frames is left after trimming"])
    trimmed = (first, last) != (0, info.frames)
    end, wanted = ends[last], recipe.rate
    if wanted is None and any(after - before < _INSTANT for before, after in pairwise(times or ())):
        wanted = rate  # two frames at one time: no file can hold that, so they are brought to the mean rate
    retimed = wanted is not None and (wanted != rate or not info.constant)
    frames = last - first
    exact = frames / rate if info.constant and rate else None
    if recipe.trim is not None and recipe.trim.end is not None and (retimed or not info.constant):
        # Of a frame that is shown for long only a part may be kept.
        until = max(zero + recipe.trim.end, ends[last - 1])
        if until < end - _INSTANT:
            end, exact = until, None
    if retimed and wanted is not None:
        # What the filter makes of it: the end of the last frame, rounded half up.
        kept = Fraction(end - ends[first]).limit_denominator(1_000_000) if exact is None else exact
        frames, rate = max(1, math.floor(kept * wanted + Fraction(1, 2))), wanted
    width, height = _scaled(info, recipe)
    tag = recipe.colour == "bt709"
    return Shape(
        first=first,
        last=last,
        frames=frames,
        rate=rate,
        duration=float(frames / rate) if rate and (retimed or info.constant) else end - ends[first],
        last_seconds=end - ends[last - 1],
        width=width,
        height=height,
        sound_start=ends[first],
        sound_seconds=_sound(info, ends[first], None if end == ends[info.frames] else end - ends[first]),
        trimmed=trimmed,
        retimed=retimed,
        uneven=not info.constant and not retimed,
        scaled=(width, height) != (info.width, info.height),
        tag_colour=tag,
        convert_colour=tag and (is_hdr(info) or is_other_colour(info)),
    )


def fit_for_the_web(info: MediaInfo) -> bool:
    """Whether browsers play the pictures as they are: H.264, 8 bit 4:2:0, square pixels, limited range, whole frames.

    And whether they begin at zero and all of them are shown, so that a copy needs no edit list.
    """
    return (
        info.codec == "h264"
        and info.pix_fmt == "yuv420p"
        and info.square_pixels
        and info.upright
        and not info.interlaced
        and not info.hides_frames
        and abs(info.start) < _INSTANT
        and info.colour[0] != _FULL_RANGE
        and 0 < info.frame_rate <= 120
    )


def even(pixels: float) -> int:
    """The next even number below, at least 2."""
    return max(2, int(pixels) - int(pixels) % 2)


def within(width: int, height: int, *, widest: int) -> tuple[int, int]:
    """A picture's size brought to at most `widest` pixels of width, both sides even."""
    to = even(min(widest, width))
    return to, even(round(to * height / width))


def covering(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The even size to which a picture is scaled so that it just covers a frame."""
    factor = max(Fraction(frame[0], size[0]), Fraction(frame[1], size[1]))
    return tuple(max(edge, 2 * round(side * factor / 2)) for side, edge in zip(size, frame, strict=True))  # type: ignore[return-value]


def inside(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The even size to which a picture is scaled so that all of it fits into a frame."""
    factor = min(Fraction(frame[0], size[0]), Fraction(frame[1], size[1]))
    return even(round(size[0] * factor)), even(round(size[1] * factor))


def evenly(frames: int, count: int) -> list[int]:
    """`count` frame numbers at even distances, the first and the last among them."""
    count = max(1, min(frames, count))
    return [round(cell * (frames - 1) / max(1, count - 1)) for cell in range(count)]


def _scaled(info: MediaInfo, recipe: Recipe) -> tuple[int, int]:
    shown = info.shown_size
    if recipe.scale is None:
        # Browsers and platforms do not agree about pixels that are not square.
        return shown if info.square_pixels else (even(shown[0]), even(shown[1]))
    width, height = recipe.scale.width, recipe.scale.height
    if width is None:
        assert height is not None
        return even(round(height * shown[0] / shown[1])), height
    return width, height or even(round(width * shown[1] / shown[0]))


def _times_of(info: MediaInfo, times: Sequence[float] | None) -> list[float]:
    """When each frame begins, and when the last one ends, in seconds from the first."""
    if times is None:
        length = 1 / info.frame_rate if info.frame_rate else Fraction(0)
        return [float(at * length) for at in range(info.frames + 1)]
    found = list(times[: info.frames])
    # Frames that a header promises and that are not there: decoding will say so.
    found += [info.duration] * (info.frames - len(found))
    return [*found, max(info.duration, found[-1])]


def _nearest(ends: Sequence[float], time: float, frames: int) -> int:
    """The frame that begins closest to a time; `frames` where that lies past the last one's end."""
    at = bisect.bisect_left(ends, time - _INSTANT, 0, frames)
    if at and (at >= len(ends) or time - ends[at - 1] < ends[at] - time - _INSTANT):
        return at - 1
    return at


def _sound(info: MediaInfo, start: float, seconds: float | None) -> float | None:
    """How much of the audio goes with the pictures from `start` on, which counts from the first of them."""
    if info.audio is None:
        return None
    left = info.audio.start + info.audio.duration - info.start - start
    left = left if seconds is None else min(left, seconds)
    return left if left > 0 else None
