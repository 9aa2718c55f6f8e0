"""What a clip shows and plays, measured with PyAV, which made none of it: flashes, beeps, colours."""

import array
from collections.abc import Sequence
from pathlib import Path

import av
from PIL import Image

_LOUD = 0.08
_WINDOW = 48  # a millisecond

Colour = tuple[float, ...]
Spot = tuple[float, float]
"""A place, as shares of width and height."""


def start(path: Path) -> float:
    """When the first frame is shown, in seconds on the file's own clock."""
    with av.open(str(path)) as container:
        return float(next(container.decode(container.streams.video[0])).time or 0)


def flashes(path: Path, at: Spot) -> list[float]:
    """When the spot becomes white, in seconds on the file's own clock."""
    found: list[float] = []
    lit = False
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            bright = min(_mean(frame, at)) > 190
            if bright and not lit:
                found.append(float(frame.time or 0))
            lit = bright
    return found


def beeps(path: Path) -> list[float]:
    """When a beep begins after silence, in seconds on the file's own clock."""
    found: list[float] = []
    last = -1.0
    resampler = av.AudioResampler(format="flt", layout="mono", rate=48000)
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return found
        for frame in container.decode(container.streams.audio[0]):
            for part in resampler.resample(frame):
                samples = array.array("f")
                samples.frombytes(bytes(part.planes[0])[: part.samples * 4])
                for begin in range(0, len(samples), _WINDOW):
                    if max(map(abs, samples[begin : begin + _WINDOW])) > _LOUD:
                        now = float(frame.time or 0) + begin / 48000
                        if now - last > 0.15:
                            found.append(now)
                        last = now
    return found


def colours(path: Path, spots: Sequence[Spot], seconds: float) -> list[Colour]:
    """Red, green and blue at some spots, in the first frame that is shown at or after `seconds`; else in the last."""
    frame = None
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            if frame.time >= seconds - 1e-6:
                break
    assert frame is not None
    return [_mean(frame, spot) for spot in spots]


def still_colours(path: Path, spots: Sequence[Spot]) -> list[Colour]:
    """Red, green and blue at some spots of a picture."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    return [picture.getpixel((round(x * picture.width), round(y * picture.height))) for x, y in spots]  # type: ignore[misc]


def _mean(frame: av.VideoFrame, at: Spot) -> Colour:
    """The mean of 4x4 pixels of a video in BT.709, limited range, worked out exactly."""
    assert frame.format.name == "yuv420p"
    left, top = round(at[0] * frame.width) - 2, round(at[1] * frame.height) - 2
    means = []
    for plane, shrink in zip(frame.planes, (1, 2, 2), strict=True):
        data, stride = memoryview(plane), plane.line_size
        cells = [
            data[(top + y) // shrink * stride + (left + x) // shrink] for x in range(4) for y in range(4)
        ]
        means.append(sum(cells) / 16)
    white, blue, red = (means[0] - 16) * 255 / 219, (means[1] - 128) * 255 / 224, (means[2] - 128) * 255 / 224
    found = white + 1.5748 * red, white - 0.1873 * blue - 0.4681 * red, white + 1.8556 * blue
    return tuple(min(255.0, max(0.0, each)) for each in found)
