"""The parts of the stand-in's pictures and sounds, and a walk over a sheet's panels.

Everything that varies is drawn from the seed and the prompt, and no filter here depends on a thread count
or a clock, so the same job gives the same frames (media-and-storage §8).
"""

import math
import random
from collections.abc import Sequence
from typing import Any, Final

import ffmpeg

from prefect_ltx.local.renderer import RenderJob
from prefect_ltx.media import generator, source
from prefect_ltx.media.panels import Panel

_NOTES: Final = (110.0, 130.81, 146.83, 164.81, 196.0, 220.0)
_LARGEST_CANVAS: Final = 4096
_BACKDROP_STEP: Final = 4
"""Frames of the clip to one of the backdrop: it moves slowly, and scaling it up is what it costs."""
_TRAVEL: Final = 0.35
"""The share of a panel's time that goes into moving on to the next one."""


def pixel_format(width: int, height: int) -> str:
    """yuv420p holds a colour sample for two by two pixels, so x264 refuses odd sides with it; yuv444p does
    not."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"


def dice(job: RenderJob, purpose: str) -> random.Random:
    """Chance for one purpose, the same for the same seed and prompt."""
    return random.Random(f"{purpose} {job.seed} {job.prompt}")  # noqa: S311  (has to be repeatable)


def sheet_walk(job: RenderJob, sheet_size: tuple[int, int], panels: Sequence[Panel]) -> Any:
    """A camera that goes from panel to panel, in an order the seed draws; each fills the frame in turn."""
    assert job.image is not None
    # An endpoint of the same contract may have neither.
    reference_strength = getattr(job.request, "reference_strength", 1.0)
    ingredient_strength = getattr(job.request, "ingredient_strength", 1.0)
    chance = dice(job, "walk")
    canvas = _canvas(job)
    windows = [_window(panel, sheet_size, canvas) for panel in panels]
    chance.shuffle(windows)
    tighter = 1 + 0.08 * max(reference_strength - 1, 0)
    windows = [(x, y, width / tighter) for x, y, width in windows]
    # ffmpeg-python takes two equal inputs for one, so a second look at the sheet is a split.
    sheet, sheet_again = (
        twice(source(job.image).video) if job.sheet_lead_in else (source(job.image).video, None)
    )
    on_canvas = _contained(sheet, canvas)
    # Once, on the still: the strength of the ingredients shows as colour.
    on_canvas = on_canvas.filter(
        "hue", h=f"{chance.uniform(-12, 12):.3f}", s=f"{0.4 + 0.6 * ingredient_strength:.3f}"
    )
    on_canvas = on_canvas.filter("format", pixel_format(job.width, job.height))
    x, y, width = (_path([window[part] for window in windows], job.num_frames) for part in range(3))
    breath = f"(1.05+0.05*sin(on/{job.num_frames}*PI*2+{chance.uniform(0, 6.28):.4f}))"
    picture = on_canvas.filter(
        "zoompan",
        z=f"{breath}/({width})",
        x=f"iw*({x})-iw/zoom/2",
        y=f"ih*({y})-ih/zoom/2",
        d=job.num_frames,
        s=f"{job.width}x{job.height}",
        fps=rate(job),
    ).filter("setsar", 1)
    shows = math.sqrt(min(reference_strength, 1))
    if shows < 1:
        picture = ffmpeg.filter(
            [picture, backdrop(job)],
            "blend",
            all_mode="normal",
            all_opacity=f"{shows:.4f}",
        )
    if sheet_again is not None:
        opening = _contained(sheet_again, (job.width, job.height))
        picture = laid_over(picture, still(job, opening, job.sheet_lead_in), job)
    return picture


def sound(job: RenderJob) -> Any:
    """A low note under soft noise, both drawn from the seed, exactly as long as the frames."""
    chance = dice(job, "sound")
    samples = max(round(job.num_frames / job.fps * 48000), 1)
    tone = generator(f"sine=f={chance.choice(_NOTES)}:b=4:r=48000")
    noise = generator(f"anoisesrc=r=48000:a=0.03:c=pink:seed={chance.randrange(2**31)}")
    return (
        ffmpeg.filter([tone, noise], "amix", inputs=2, duration="first")
        .filter("atrim", end_sample=samples)
        .filter("aformat", channel_layouts="stereo")
    )


def twice(stream: Any) -> tuple[Any, Any]:
    """Two streams of one."""
    both = stream.filter_multi_output("split")
    return both[0], both[1]


def rate(job: RenderJob, every: int = 1) -> str:
    """The job's frame rate, or one frame in `every`."""
    return f"{job.fps.numerator}/{job.fps.denominator * every}"


def cover(stream: Any, job: RenderJob) -> Any:
    """A picture that fills the frame, cropped."""
    return (
        stream.filter("format", pixel_format(job.width, job.height))
        .filter("scale", job.width, job.height, force_original_aspect_ratio="increase", flags="fast_bilinear")
        .filter("crop", job.width, job.height)
        .filter("setsar", 1)
    )


def _contained(stream: Any, size: tuple[int, int]) -> Any:
    width, height = size
    return (
        stream.filter("format", "yuv444p")
        .filter("scale", width, height, force_original_aspect_ratio="decrease", flags="bicubic")
        .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", "black")
        .filter("setsar", 1)
    )


def backdrop(job: RenderJob, *, every: int = _BACKDROP_STEP) -> Any:
    """Slow, soft colours. With `every` above 1 it is only for blending, which holds a frame until the next."""
    chance = dice(job, "backdrop")
    size = f"{max(job.width // 16, 8)}x{max(job.height // 16, 8)}"
    colours = ":".join(
        f"c{n}=0x{chance.randrange(0x20, 0xE0):02x}{chance.randrange(256):02x}{chance.randrange(256):02x}"
        for n in range(4)
    )
    speed = f"{chance.uniform(0.01, 0.03) * every:.4f}"
    small = generator(
        f"gradients=s={size}:r={rate(job, every)}:n=4:{colours}:seed={chance.randrange(2**31)}:speed={speed}"
    )
    return (
        small.video.filter("format", pixel_format(job.width, job.height))
        .filter("scale", job.width, job.height, flags="fast_bilinear")
        .filter("setsar", 1)
    )


def still(job: RenderJob, picture: Any, frames: int) -> Any:
    """The first `frames` frames of a clip that shows one picture, with a channel for its transparency."""
    alpha = "yuva444p" if pixel_format(job.width, job.height) == "yuv444p" else "yuva420p"
    return (
        picture.filter("format", alpha)
        .filter("loop", loop=-1, size=1)
        .filter("settb", f"{job.fps.denominator}/{job.fps.numerator}")
        .filter("setpts", "N")
        .filter("trim", end_frame=frames)
    )


def laid_over(picture: Any, above: Any, job: RenderJob) -> Any:
    """The picture with another one above it for as long as that lasts."""
    layout = "yuv444" if pixel_format(job.width, job.height) == "yuv444p" else "yuv420"
    return ffmpeg.overlay(picture, above, eof_action="pass", format=layout)


def _canvas(job: RenderJob) -> tuple[int, int]:
    # Twice the frame, so that a panel of a two by two sheet is seen at its own size.
    scale = min(2.0, _LARGEST_CANVAS / max(job.width, job.height))
    scale = max(scale, 1.0)
    return max(round(job.width * scale), 2), max(round(job.height * scale), 2)


def _window(panel: Panel, sheet: tuple[int, int], canvas: tuple[int, int]) -> tuple[float, float, float]:
    """Centre and width, as shares of the canvas, of the largest view with the frame's shape inside a
    panel."""
    scale = min(canvas[0] / sheet[0], canvas[1] / sheet[1])
    offset = [(canvas[side] - sheet[side] * scale) / 2 for side in range(2)]
    width = (panel.right - panel.left) * sheet[0] * scale
    height = (panel.bottom - panel.top) * sheet[1] * scale
    x = offset[0] + (panel.left + panel.right) / 2 * sheet[0] * scale
    y = offset[1] + (panel.top + panel.bottom) / 2 * sheet[1] * scale
    view = min(width, height * canvas[0] / canvas[1])
    return x / canvas[0], y / canvas[1], min(max(view / canvas[0], 0.11), 1)


def _path(values: Sequence[float], frames: int) -> str:
    """An ffmpeg expression over `on` that stays at each value for its share of the frames and eases to the
    next."""
    share = frames / len(values)
    text = f"{values[-1]:.5f}"
    for at in range(len(values) - 2, -1, -1):
        begin, travel = (at + 1 - _TRAVEL) * share, _TRAVEL * share
        done = f"clip((on-{begin:.3f})/{travel:.3f},0,1)"
        eased = f"({done})*({done})*(3-2*({done}))"
        step = values[at + 1] - values[at]
        text = f"if(lt(on,{(at + 1) * share:.3f}),{values[at]:.5f}+({step:.5f})*{eased},{text})"
    return text
