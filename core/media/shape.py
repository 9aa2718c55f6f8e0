"""What a recipe makes of a clip before any output: which frames, how many a second, how large, which sound.

Pure arithmetic over a probed video; every output is planned and checked against this.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from prefect_ltx.media.errors import MediaInvalid
from prefect_ltx.media.probe import MediaInfo
from prefect_ltx.media.recipe import Recipe

_BT709 = 1
_UNTAGGED = (0, 2)
_FULL_RANGE = 2
PQ = 16
_HDR_TRANSFERS = (PQ, 18)


@dataclass(frozen=True)
class Shape:
    """A clip after its operations: `frames` at `rate` of `width` x `height` pixels, and what that takes.

    `first` to `last` (exclusive) are the frames of the source that are kept. `sound_start` and `sound_seconds`
    are the part of its audio that goes with them; None where there is none.
    """

    first: int
    last: int
    frames: int
    rate: Fraction
    width: int
    height: int
    sound_start: float
    sound_seconds: float | None
    trimmed: bool
    retimed: bool
    scaled: bool
    tag_colour: bool
    convert_colour: bool
    tone_map: bool

    @property
    def untouched(self) -> bool:
        """Whether the pictures are those of the source, so that they can be copied."""
        return not (self.trimmed or self.retimed or self.scaled or self.convert_colour or self.tone_map)

    @property
    def duration(self) -> float:
        """Of the pictures, in seconds."""
        return float(self.frames / self.rate) if self.rate else 0.0


def shape_of(info: MediaInfo, recipe: Recipe, *, name: str, lead_in_frames: int = 0) -> Shape:
    """Work out what is left of a clip.

    Raises:
        MediaInvalid: nothing is left, or a frame-rate change is asked of a video whose rate is unknown.
    """
    rate = info.frame_rate
    first = lead_in_frames if recipe.remove_lead_in else 0
    last = info.frames
    if recipe.trim is not None:
        if rate == 0:
            raise MediaInvalid(name, ["its frame rate is unknown, so it cannot be trimmed"])
        if recipe.trim.end is not None:
            last = min(last, first + math.ceil(recipe.trim.end * rate))
        first += round(recipe.trim.start * rate)
    if not 0 <= first < last:
        raise MediaInvalid(name, [f"nothing of its {info.frames} frames is left after trimming"])
    start, trimmed = float(first / rate) if rate else 0.0, (first, last) != (0, info.frames)
    kept = last - first
    wanted = recipe.rate
    if wanted is not None and rate == 0:
        raise MediaInvalid(name, ["its frame rate is unknown, so it cannot be converted"])
    retimed = wanted is not None and wanted != rate
    width, height = _scaled(info, recipe)
    # The numbers of HDR mean nothing in BT.709 before they are mapped to it.
    tag = recipe.colour == "bt709"
    hdr = info.colour[2] in _HDR_TRANSFERS
    return Shape(
        first=first,
        last=last,
        # What the filter makes of it: the end of the last frame, rounded half up.
        frames=max(1, math.floor(kept / rate * wanted + Fraction(1, 2))) if retimed and wanted else kept,
        rate=wanted if retimed and wanted else rate,
        width=width,
        height=height,
        sound_start=start,
        sound_seconds=_sound(info, start, float(kept / rate) if rate and last < info.frames else None),
        trimmed=trimmed,
        retimed=retimed,
        scaled=(width, height) != (info.width, info.height),
        tag_colour=tag,
        convert_colour=tag and not hdr and _is_other_colour(info),
        tone_map=tag and hdr,
    )


def fit_for_the_web(info: MediaInfo) -> bool:
    """Whether browsers play the pictures as they are: H.264, 8 bit 4:2:0, square pixels, limited range."""
    return (
        info.codec == "h264"
        and info.pix_fmt == "yuv420p"
        and info.square_pixels
        and info.upright
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


def _sound(info: MediaInfo, start: float, seconds: float | None) -> float | None:
    if info.audio is None:
        return None
    left = (info.audio.duration or info.duration) - start
    left = left if seconds is None else min(left, seconds)
    return left if left > 0 else None


def _is_other_colour(info: MediaInfo) -> bool:
    full_range, primaries, transfer, matrix = info.colour
    tags = (primaries, transfer, matrix)
    if not info.pix_fmt.startswith(("yuv", "nv", "gray", "p0")):
        return True  # RGB, whose matrix says nothing
    return full_range == _FULL_RANGE or any(tag not in (_BT709, *_UNTAGGED) for tag in tags)
