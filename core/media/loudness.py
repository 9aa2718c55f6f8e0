"""EBU R128 loudness in two passes: a short measurement of the audio alone, then one constant gain.

The measurement decodes no picture (0.1 s for a clip of 5 s). Where the gain would lift peaks over the true peak
allowed, a limiter takes them down, and the measurement is repeated with it until the result is at the target:
the gain is never ridden. What is silent, too short to be measured, or cannot be brought to the target is left
as it is.
"""

import asyncio
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.errors import FfmpegFailed
from prefect_ltx.media.graph import nowhere, source
from prefect_ltx.media.info import AudioInfo
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.magic import MediaFormat
from prefect_ltx.media.probe import probe
from prefect_ltx.media.process import run_ffmpeg
from prefect_ltx.media.shown import SAMPLE_RATE, heard, own_clock

WEB_LUFS: Final = -14.0
"""Programme loudness of the large web platforms."""
TRUE_PEAK_DBTP: Final = -1.5
_ROUNDS: Final = 8
_CLOSE_LU: Final = 0.1
_CLOSE_ENOUGH_LU: Final = 0.3
_LARGEST_GAIN_DB: Final = 40.0
_LARGEST_STEP_DB: Final = 10.0
_FLATTEST: Final = 0.04
_MARGIN_DB: Final = 0.2  # the encoder adds a little to the peaks
_PEAK_STEP_DB: Final = 0.1  # the meter says peaks to a tenth of a dB
_RUNNING: Final = "lavfi.r128.I"
_SUMMARY: Final = re.compile(
    r"Integrated loudness:.*?Threshold:\s+(\S+) LUFS.*?LRA:\s+(\S+) LU\b.*?Peak:\s+(\S+) dBFS", re.DOTALL
)
_NOTHING_LUFS: Final = -70.0
"""The meter's absolute gate: below it there is nothing to bring to a target."""


class Loudness(BaseModel):
    """What ffmpeg's EBU R128 meter says: integrated LUFS, true peak dBTP, range LU, gating threshold LUFS.

    All but `integrated` are rounded to a tenth.
    """

    model_config = ConfigDict(frozen=True)

    integrated: float
    true_peak: float
    range: float
    threshold: float


@dataclass(frozen=True)
class Cut:
    """A part of an audio stream in seconds; the whole of it where nothing is given."""

    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class Level:
    """How audio is brought to a target: what it was, a gain in dB, and a limit in dBTP where peaks need one."""

    before: Loudness
    gain: float
    limit: float | None
    target: float


async def measure_loudness(
    path: Path,
    *,
    timeout: float = 600,
    known: MediaFormat | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Loudness | None:
    """Measure what a player would play of a file, from its first frame on.

    None when it is silent or shorter than the meter needs.

    Raises:
        FfmpegFailed: it has no audio, or the audio cannot be decoded.
    """
    origin = source(path, known=known, limits=limits)
    if known is None and (info := await asyncio.to_thread(probe, path, limits=limits)).audio is not None:
        # From the first frame, as `find_level` does: the meter's blocks are 0.1 s apart, and what a container
        # leaves before the sound would move a beat from one into two (1.2 LU, measured).
        return await _measure(prepared(origin, info.audio, start=info.start), timeout=timeout, limits=limits)
    return await _measure(origin.audio, timeout=timeout, limits=limits)


async def find_level(
    path: Path,
    info: AudioInfo,
    *,
    target: float,
    true_peak: float,
    start: float = 0.0,
    cut: Cut = Cut(),
    timeout: float = 600,
    limits: Limits = DEFAULT_LIMITS,
) -> Level | None:
    """Find what brings a file's audio to `target` LUFS within 0.3 LU; None where it is to be left as it is.

    It counts from the first frame, which is shown at `start`.

    Raises:
        FfmpegFailed: the audio cannot be decoded.
    """

    async def measured(level: Level | None) -> Loudness | None:
        stream = prepared(source(path, limits=limits), info, start=start, cut=cut, level=level)
        return await _measure(stream, timeout=timeout, limits=limits)

    before = await measured(None)
    if before is None:
        return None
    gain = target - before.integrated
    if before.true_peak + _PEAK_STEP_DB / 2 + gain <= true_peak:
        return Level(before, gain, None, target)
    closest: tuple[float, Level] | None = None
    loudness, slope = before.integrated, 1.0
    last_gain = 0.0
    for _ in range(_ROUNDS):
        level = Level(before, gain, true_peak - _MARGIN_DB, target)
        after = await measured(level)
        if after is None:
            break
        missing = target - after.integrated
        if closest is None or abs(missing) < closest[0]:
            closest = (abs(missing), level)
        if abs(missing) <= _CLOSE_LU:
            break
        # The limiter takes back a part of what is added: how much, the last step tells.
        slope = (after.integrated - loudness) / (gain - last_gain) if gain != last_gain else slope
        loudness, last_gain = after.integrated, gain
        step = max(-_LARGEST_STEP_DB, min(missing / max(slope, _FLATTEST), _LARGEST_STEP_DB))
        gain = min(gain + step, _LARGEST_GAIN_DB)
        if gain == last_gain:
            break
    return closest[1] if closest is not None and closest[0] <= _CLOSE_ENOUGH_LU else None


def prepared(
    origin: Any, info: AudioInfo, *, start: float = 0.0, cut: Cut = Cut(), level: Level | None = None
) -> Any:
    """An input node's sound from its first frame (at `start`) on: cut, levelled, at 48 kHz, mono or stereo, from zero.

    The graph has to run on the file's `own_clock`.
    """
    # Older encoders cannot choose a layout by themselves; and what is measured is what is mixed down.
    audio = heard(origin, info, start).filter(
        "aformat", channel_layouts="mono" if info.channels == 1 else "stereo"
    )
    if cut.start or cut.seconds is not None:
        ends = {} if cut.seconds is None else {"end_sample": _samples(cut.start + cut.seconds)}
        audio = audio.filter("atrim", start_sample=_samples(cut.start), **ends)
        audio = audio.filter("asetpts", "PTS-STARTPTS")
    if level is not None:
        audio = audio.filter("volume", f"{level.gain:.3f}dB")
        if level.limit is not None:
            # Peaks between the samples are seen at four times the rate.
            audio = (
                audio.filter("aresample", 4 * SAMPLE_RATE)
                .filter(
                    "alimiter",
                    limit=f"{10 ** (level.limit / 20):.5f}",
                    attack=2,
                    release=40,
                    level="disabled",
                    latency=1,
                )
                .filter("aresample", SAMPLE_RATE)
            )
    return audio


async def _measure(audio: Any, *, timeout: float, limits: Limits) -> Loudness | None:
    # A third of what loudnorm takes for its first pass. The summary at the end rounds to a tenth, which is too
    # coarse to search for a gain with; the running value does not.
    meter = audio.filter("ebur128", peak="true", metadata=1, framelog="quiet")
    told = meter.filter("ametadata", mode="print", key=_RUNNING)
    run = await run_ffmpeg(own_clock(nowhere(told)), timeout=timeout, limits=limits)
    return _read(run.log)


def _samples(seconds: float) -> int:
    return max(0, round(seconds * SAMPLE_RATE))


def _read(log: tuple[str, ...]) -> Loudness | None:
    text = "\n".join(log)
    running = re.findall(rf"{re.escape(_RUNNING)}=(\S+)", text)
    summary = _SUMMARY.search(text)
    if summary is None:
        raise FfmpegFailed("ffmpeg did not report the loudness it measured.", log=log)
    threshold, span, peak = map(float, summary.groups())
    # Without a running value the audio is shorter than one step of the meter.
    integrated = float(running[-1]) if running else -math.inf
    if not all(map(math.isfinite, (integrated, threshold, span, peak))) or integrated <= _NOTHING_LUFS:
        return None
    return Loudness(integrated=integrated, true_peak=peak, range=span, threshold=threshold)
