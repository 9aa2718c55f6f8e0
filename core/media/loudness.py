"""EBU R128 loudness in two passes: a short measurement of the audio alone, then one linear gain.

The measurement decodes no picture (0.1 s for a clip of 5 s). What is silent, or too short to be measured, is
left as it is: there is no gain that would bring it to a target.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.errors import FfmpegFailed
from prefect_ltx.media.graph import nowhere, source
from prefect_ltx.media.probe import AudioInfo
from prefect_ltx.media.process import run_ffmpeg

WEB_LUFS: Final = -14.0
"""Programme loudness of the large web platforms."""
TRUE_PEAK_DBTP: Final = -1.5
_RANGE_LU: Final = 11.0


class Loudness(BaseModel):
    """What `loudnorm` measured: integrated LUFS, true peak dBTP, range LU, gating threshold LUFS."""

    model_config = ConfigDict(frozen=True)

    integrated: float
    true_peak: float
    range: float
    threshold: float
    offset: float


async def measure_loudness(video: Path, *, target: float = WEB_LUFS, timeout: float = 600) -> Loudness | None:
    """Measure the first audio stream of a file; None when it is silent or shorter than the meter needs.

    Raises:
        FfmpegFailed: it has no audio, or the audio cannot be decoded.
    """
    meter = source(video).audio.filter(
        "loudnorm", I=target, TP=TRUE_PEAK_DBTP, LRA=_RANGE_LU, print_format="json"
    )
    run = await run_ffmpeg(nowhere(meter), timeout=timeout)
    return _read(run.log)


def normalised(audio: Any, measured: Loudness | None, *, info: AudioInfo, target: float = WEB_LUFS) -> Any:
    """Return an audio stream brought to `target` LUFS where it was measured, at 48 kHz, mono or stereo."""
    if measured is not None:
        audio = audio.filter(
            "loudnorm",
            I=target,
            TP=TRUE_PEAK_DBTP,
            # A narrower target than the material has would make ffmpeg ride the gain.
            LRA=min(50.0, max(_RANGE_LU, math.ceil(measured.range))),
            measured_I=measured.integrated,
            measured_TP=measured.true_peak,
            measured_LRA=max(0.1, measured.range),  # 0 is read as "not measured"
            measured_thresh=measured.threshold,
            offset=measured.offset,
            linear="true",
        )
        # Where it has to ride the gain, loudnorm leaves a hole of up to 0.1 s in its time stamps.
        audio = audio.filter("asetpts", "STARTPTS+N/SR/TB")
    # loudnorm may leave 192 kHz behind, and older encoders cannot choose a layout by themselves.
    audio = audio.filter("aresample", 48000).filter(
        "aformat", channel_layouts="mono" if info.channels == 1 else "stereo"
    )
    # Its last block of 0.1 s may be filled up with silence.
    return audio.filter("atrim", end_sample=max(1, round(info.duration * 48000))) if info.duration else audio


def _read(log: tuple[str, ...]) -> Loudness | None:
    text = "\n".join(log)
    start = text.rfind('{\n\t"input_i"')
    try:
        values, _ = json.JSONDecoder().raw_decode(text[start:] if start >= 0 else "")
        numbers = {name: float(value) for name, value in values.items() if name != "normalization_type"}
        found = Loudness(
            integrated=numbers["input_i"],
            true_peak=numbers["input_tp"],
            range=numbers["input_lra"],
            threshold=numbers["input_thresh"],
            offset=numbers["target_offset"],
        )
    except (ValueError, KeyError) as error:
        raise FfmpegFailed("ffmpeg did not report the loudness it measured.", log=log) from error
    # Below the meter's absolute gate of -70 LUFS there is nothing to bring to a target.
    if not all(map(math.isfinite, numbers.values())) or found.integrated <= -70:
        return None
    return found
