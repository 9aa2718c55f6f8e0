"""Material to try the two endpoints with, drawn by ffmpeg: a clip with motion, and a sheet with panels.

Nothing is downloaded and nothing is shipped as a file. The same arguments give the same bytes with the same
ffmpeg. The sheet follows the trained form: black ground, clean panels, no text, one location (ltx-model §5).
"""

import colorsys
import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from prefect_ltx.media.graph import BITEXACT, frame_rate, generator, target
from prefect_ltx.media.process import run_ffmpeg

_GUTTER = 14


async def make_reference_clip(
    path: Path | str,
    *,
    width: int = 512,
    height: int = 288,
    frames: int = 49,
    fps: str | float | Fraction = 24,
    seed: int = 0,
) -> Path:
    """Write an MP4 (H.264, AAC 48 kHz): a ball bounces along a shore, a boat passes, a low tone swells.

    Returns `path`. Width and height are even and at least 64.

    Raises:
        ValueError: a size or a count that cannot be drawn.
        FfmpegFailed: ffmpeg is missing or failed.
    """
    if width % 2 or height % 2 or min(width, height) < 64 or frames < 1:
        raise ValueError("a reference clip has an even width and height from 64 up, and at least one frame")
    rate, dice, seconds = frame_rate(fps), random.Random(seed), float(frames / frame_rate(fps))  # noqa: S311
    hue = dice.uniform(-0.07, 0.07)
    sky = generator(
        f"gradients=s={width}x{height}:r={rate}:n=2:c0={_colour(hue + 0.58, 0.55, 0.9)}"
        f":c1={_colour(hue + 0.1, 0.35, 0.97)}:x0=0:y0=0:x1=0:y1={height}:speed=0.00001:seed=1"
    ).video
    shore = round(height * 0.74)
    radius = height / 9
    hops, start = dice.uniform(1.2, 1.8), dice.random()
    scene = _box(sky, 0, shore, width, height - shore, _colour(hue + 0.1, 0.45, 0.62))
    scene = _disc(scene, width * dice.uniform(0.6, 0.8), height * 0.2, height / 12, "0xfff3b0")
    hull = generator(
        f"color=c={_colour(hue + 0.66, 0.6, 0.4)}:s={_even(width / 5)}x{_even(height / 14)}:r=1:d=1"
    )
    scene = scene.overlay(
        hull.video.filter("format", "rgba"), x=f"W-(W+w)*t/{seconds:.6f}", y=shore - _even(height / 14)
    )
    travel = f"(W+w)*mod(t/{max(seconds, 0.5):.6f}+{start:.4f},1)-w"
    bounce = f"{shore + radius * 0.9:.2f}-h-{height * 0.45:.2f}*abs(sin({hops * 3.14159:.5f}*t))"
    scene = scene.overlay(_disc_image(radius, _colour(hue + 0.02, 0.85, 0.9), "ball"), x=travel, y=bounce)
    tone = generator(f"sine=f={dice.choice((110, 146.83, 164.81, 196, 220))}:b=3:r=48000").audio
    tone = tone.filter("tremolo", f=round(hops, 2), d=0.5).filter(
        "atrim", end_sample=max(1, round(seconds * 48000))
    )
    options: dict[str, Any] = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": 18,
        "pix_fmt": "yuv420p",
        # x264's bytes depend on its number of threads.
        "x264-params": "threads=2:lookahead-threads=1",
        "r": str(rate),
        "frames:v": frames,
        "c:a": "aac",
        "b:a": "96k",
        "movflags": "+faststart",
        **BITEXACT,
    }
    path = Path(path)
    await run_ffmpeg(target(scene.filter("setsar", 1), tone, path=path, **options), expected_frames=frames)
    return path


async def make_reference_sheet(
    path: Path | str, *, width: int = 1536, height: int = 896, seed: int = 0
) -> Path:
    """Write a picture (.png or .jpg): four subject panels above one wide location panel, on black.

    Returns `path`. Width and height are even and at least 256.

    Raises:
        ValueError: a size that cannot be drawn, or another suffix.
        FfmpegFailed: ffmpeg is missing or failed.
    """
    path = Path(path)
    if width % 2 or height % 2 or min(width, height) < 256:
        raise ValueError("a reference sheet has an even width and height from 256 up")
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError("a reference sheet is a .png or a .jpg")
    hue = random.Random(seed).random()  # noqa: S311 - a picture, not a secret
    sheet = generator(f"color=c=black:s={width}x{height}:r=1:d=1").video.filter("format", "rgb24")
    for panel, draw in zip(_panels(width, height), (_face, _figure, _lantern, _boat, _shore), strict=True):
        sheet = draw(_box(sheet, *panel.rectangle, _colour(hue + 0.55, 0.06, 0.82)), panel, hue)
    options = {"q:v": 2} if path.suffix.lower() != ".png" else {}
    await run_ffmpeg(target(sheet.filter("format", "rgb24"), path=path, **options, **BITEXACT))
    return path


@dataclass(frozen=True)
class _Panel:
    """A rectangle of the sheet; `at` and `size` turn parts of it (0 to 1) into pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def rectangle(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.width, self.height

    def box(self, node: Any, x: float, y: float, width: float, height: float, colour: str) -> Any:
        left, top = self.x + x * self.width, self.y + y * self.height
        return _box(node, left, top, width * self.width, height * self.height, colour)

    def disc(self, node: Any, x: float, y: float, radius: float, colour: str) -> Any:
        side = min(self.width, self.height)
        return _disc(node, self.x + x * self.width, self.y + y * self.height, radius * side, colour)


def _panels(width: int, height: int) -> list[_Panel]:
    top = round((height - 3 * _GUTTER) * 0.58)
    cell = (width - 5 * _GUTTER) // 4
    subjects = [_Panel(_GUTTER + place * (cell + _GUTTER), _GUTTER, cell, top) for place in range(4)]
    location = _Panel(_GUTTER, top + 2 * _GUTTER, width - 2 * _GUTTER, height - top - 3 * _GUTTER)
    return [*subjects, location]


def _face(node: Any, panel: _Panel, hue: float) -> Any:
    coat, hair, skin = _colour(hue, 0.8, 0.75), "0x3a2a1e", "0xe0b08c"
    node = panel.box(node, 0.15, 0.78, 0.7, 0.22, coat)
    node = panel.disc(node, 0.5, 0.42, 0.38, hair)
    node = panel.box(node, 0.42, 0.65, 0.16, 0.16, skin)
    node = panel.disc(node, 0.5, 0.47, 0.31, skin)
    node = panel.disc(node, 0.38, 0.45, 0.035, "0x202020")
    node = panel.disc(node, 0.62, 0.45, 0.035, "0x202020")
    return panel.box(node, 0.42, 0.6, 0.16, 0.015, "0x9c4a3c")


def _figure(node: Any, panel: _Panel, hue: float) -> Any:
    coat, dark, skin = _colour(hue, 0.8, 0.75), "0x2c3440", "0xe0b08c"
    node = panel.disc(node, 0.5, 0.15, 0.12, "0x3a2a1e")
    node = panel.disc(node, 0.5, 0.17, 0.095, skin)
    node = panel.box(node, 0.46, 0.23, 0.08, 0.06, skin)
    node = panel.box(node, 0.36, 0.28, 0.28, 0.36, coat)
    node = panel.box(node, 0.28, 0.29, 0.08, 0.3, coat)
    node = panel.box(node, 0.64, 0.29, 0.08, 0.3, coat)
    node = panel.box(node, 0.39, 0.64, 0.09, 0.29, dark)
    return panel.box(node, 0.52, 0.64, 0.09, 0.29, dark)


def _lantern(node: Any, panel: _Panel, hue: float) -> Any:
    brass = "0x8a6a2a"
    node = panel.box(node, 0.46, 0.16, 0.08, 0.12, brass)
    node = panel.box(node, 0.32, 0.28, 0.36, 0.06, brass)
    node = panel.box(node, 0.35, 0.34, 0.3, 0.36, "0xfff1c0")
    node = panel.disc(node, 0.5, 0.52, 0.11, "0xffb52e")
    return panel.box(node, 0.3, 0.7, 0.4, 0.09, brass)


def _boat(node: Any, panel: _Panel, hue: float) -> Any:
    wood = _colour(hue + 0.4, 0.7, 0.5)
    node = panel.box(node, 0.47, 0.2, 0.03, 0.42, "0x5a4630")
    node = panel.box(node, 0.5, 0.24, 0.28, 0.3, "0xf4efe2")
    node = panel.box(node, 0.16, 0.62, 0.68, 0.1, wood)
    return panel.box(node, 0.24, 0.72, 0.52, 0.07, wood)


def _shore(node: Any, panel: _Panel, hue: float) -> Any:
    node = panel.box(node, 0, 0, 1, 0.55, _colour(0.58, 0.35, 0.92))
    node = panel.disc(node, 0.78, 0.3, 0.16, "0xfff0b8")
    node = panel.box(node, 0, 0.55, 1, 0.25, _colour(0.55, 0.55, 0.6))
    node = panel.box(node, 0, 0.8, 1, 0.2, _colour(0.1, 0.4, 0.8))
    node = panel.box(node, 0.08, 0.3, 0.05, 0.5, "0xf2f2f2")
    return panel.box(node, 0.07, 0.22, 0.07, 0.1, "0xb03028")


def _box(node: Any, x: float, y: float, width: float, height: float, colour: str) -> Any:
    size = {"width": max(1, round(width)), "height": max(1, round(height))}
    return node.filter("drawbox", x=round(x), y=round(y), **size, color=colour, thickness="fill")


def _disc(node: Any, x: float, y: float, radius: float, colour: str) -> Any:
    left, top = round(x - _even(2 * radius) / 2), round(y - _even(2 * radius) / 2)
    return node.overlay(_disc_image(radius, colour, f"{left}_{top}"), x=left, y=top)


def _disc_image(radius: float, colour: str, name: str) -> Any:
    # The name keeps two equal discs apart, which ffmpeg-python would take for one node used twice.
    # One picture with a soft edge in its alpha; overlay repeats it for every frame of the scene.
    side = _even(2 * radius)
    edge = f"255*clip({side / 2}-hypot(X-{(side - 1) / 2},Y-{(side - 1) / 2})+0.5,0,1)"
    disc = generator(f"color@{name}=c={colour}:s={side}x{side}:r=1:d=1").video.filter("format", "rgba")
    return disc.filter("geq", r="r(X,Y)", g="g(X,Y)", b="b(X,Y)", a=edge)


def _colour(hue: float, saturation: float, value: float) -> str:
    red, green, blue = (round(part * 255) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return f"0x{red:02x}{green:02x}{blue:02x}"


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))
