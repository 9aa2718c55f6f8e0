"""Clips with a steady tone, and the sound of a film as numbers."""

import array
import itertools
from fractions import Fraction
from pathlib import Path

import av

from prefect_ltx.media import BITEXACT, generator, run_ffmpeg, target


async def tone_clip(
    path: Path,
    *,
    frames: int = 17,
    fps: str = "24",
    tone: int | None = 220,
    size: str = "128x96",
    sound_seconds: float | None = None,
    phase: float = 0.0,
) -> Path:
    """A clip of one tone that begins and ends in the middle of its wave; the picture's colour changes by frame."""
    seconds = float(frames / Fraction(fps))
    picture = generator(f"testsrc2=s={size}:r={fps}").video
    streams = [picture]
    options = {"c:v": "libx264", "preset": "ultrafast", "pix_fmt": "yuv420p", "frames:v": frames, **BITEXACT}
    if tone is not None:
        wave = f"aevalsrc='0.4*cos(2*PI*{tone}*t+{phase})':s=48000"
        samples = round((seconds if sound_seconds is None else sound_seconds) * 48000)
        streams.append(
            generator(wave)
            .audio.filter("atrim", end_sample=samples)
            .filter("aformat", channel_layouts="stereo")
        )
        options |= {"c:a": "aac", "b:a": "192k"}
    await run_ffmpeg(target(*streams, path=path, **options))
    return path


def samples_of(path: Path) -> list[float]:
    """The left channel at 48 kHz, from -1 to 1."""
    found = array.array("f")
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48000)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                found.frombytes(bytes(part.planes[0])[: part.samples * 4])
    return found.tolist()


def steepest(samples: list[float]) -> float:
    """The largest step from one sample to the next: a click is a step that the wave itself never makes."""
    return max(abs(after - before) for before, after in itertools.pairwise(samples))


def quietest(samples: list[float], window: int = 480) -> float:
    """The smallest peak of any 10 ms: a hole has none."""
    return min(
        max(abs(each) for each in samples[start : start + window])
        for start in range(0, len(samples) - window + 1, window)
    )
