"""The figures behind every check: one ffmpeg process decodes the clip once and measures picture and sound.

Pictures are measured at a long side of 384 pixels, sound in windows of 50 ms as a player hears it: what AAC
swings above full scale is cut off first, which is what a clipped recording sounds like.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ffmpeg

from prefect_ltx.media import MediaInfo, nowhere, probe, run_ffmpeg, source
from prefect_ltx.media.shown import in_bt709, own_clock, shown
from prefect_ltx.quality.stills import Still

LONG_SIDE: Final = 384
WINDOW_SECONDS: Final = 0.05
_BLACK_LUMA: Final = 32  # of 16 to 235


@dataclass(frozen=True)
class PictureFrame:
    """One frame: share of black pixels, mean change from the frame before in percent, and how much of a cut.

    `start` is when it is shown, in seconds from the first frame.
    """

    black: float
    change: float
    cut: float
    start: float = 0.0


@dataclass(frozen=True)
class SoundWindow:
    """One window: where it begins and how long it is (s), its loudness and peak in dBFS, samples at full scale."""

    start: float
    seconds: float
    rms: float
    peak: float
    full_scale: float


@dataclass(frozen=True)
class Measures:
    """Series over a clip. `similar[name]`: SSIM of each frame with a still picture; `reference`: with a video."""

    frames: list[PictureFrame] = field(default_factory=list)
    sound: list[SoundWindow] = field(default_factory=list)
    similar: dict[str, list[float]] = field(default_factory=dict)
    reference: list[float] = field(default_factory=list)


async def measure(
    video: Path,
    info: MediaInfo,
    *,
    sheet: Path | None = None,
    stills: Sequence[Still] = (),
    reference: Path | None = None,
    timeout: float = 120,
) -> Measures:
    """Measure a probed clip; `stills`, parts of `sheet`, and `reference` are compared with every frame.

    Raises:
        FfmpegFailed: it cannot be decoded, or takes longer than `timeout` seconds.
        MediaInvalid: the reference is no media file.
    """
    with tempfile.TemporaryDirectory(prefix="ltx-quality-") as folder:
        logs = Path(folder)
        await run_ffmpeg(
            own_clock(ffmpeg.merge_outputs(*_outputs(video, info, sheet, stills, reference, logs))),
            timeout=timeout,
        )
        return Measures(
            frames=[
                PictureFrame(
                    black=each.get("lavfi.blackframe.pblack", 0.0) / 100,
                    change=each.get("lavfi.scd.mafd", 0.0),
                    cut=each.get("lavfi.scd.score", 0.0),
                    start=each["time"],
                )
                for each in _read(logs / "picture")
            ],
            sound=[_window(each, info) for each in _read(logs / "sound")],
            similar={
                still.name: [each.get("lavfi.ssim.All", 0.0) for each in _read(logs / f"still{place}")]
                for place, still in enumerate(stills)
            },
            reference=[each.get("lavfi.ssim.All", 0.0) for each in _read(logs / "reference")],
        )


def _outputs(
    video: Path,
    info: MediaInfo,
    sheet: Path | None,
    stills: Sequence[Still],
    reference: Path | None,
    logs: Path,
) -> list[Any]:
    size = small_size(info)
    origin = source(video)
    count = 1 + len(stills) + (reference is not None)
    small = in_bt709(shown(origin, info).filter("scale", *size, flags="bilinear"), info)
    small = small.filter("setsar", 1).filter("format", "yuv420p")
    branches = _split(small, count)
    picture = branches[0].filter("scdet", threshold=0)
    picture = picture.filter("blackframe", amount=0, threshold=_BLACK_LUMA)
    outputs = [nowhere(_logged(picture, "metadata", logs / "picture"))]
    sheets = _split(source(sheet).video, len(stills)) if sheet is not None else []
    for place, (still, part) in enumerate(zip(stills, sheets, strict=True)):
        similar = ffmpeg.filter([_gray(branches[1 + place]), _gray(still.picture(part, size))], "ssim")
        outputs.append(nowhere(_logged(similar, "metadata", logs / f"still{place}")))
    if reference is not None:
        # The clip may be compared with itself, and ffmpeg-python takes equal inputs for one.
        beside = shown(source(reference, thread_queue_size=9), probe(reference)).filter("fps", info.fps)
        beside = beside.filter("scale", *size, force_original_aspect_ratio="increase").filter("crop", *size)
        ours = _gray(branches[-1]).filter("setpts", "PTS-STARTPTS")
        similar = ffmpeg.filter([ours, _gray(beside).filter("setsar", 1)], "ssim", eof_action="endall")
        outputs.append(nowhere(_logged(similar, "metadata", logs / "reference")))
    if info.audio is not None:
        samples = max(1, round(info.audio.sample_rate * WINDOW_SECONDS))
        sound = origin[str(info.audio.stream)].filter("asetpts", f"PTS-({info.start:.9f})/TB")
        sound = sound.filter("aformat", sample_fmts="s16").filter("asetnsamples", n=samples, p=0)
        sound = sound.filter(
            "astats",
            metadata=1,
            reset=1,
            measure_perchannel="none",
            measure_overall="Peak_level+RMS_level+Peak_count+Number_of_samples",
        )
        outputs.append(nowhere(_logged(sound, "ametadata", logs / "sound")))
    return outputs


def small_size(info: MediaInfo) -> tuple[int, int]:
    """The size at which a clip is measured: even, long side 384 or less."""
    scale = min(1.0, LONG_SIDE / max(info.shown_size))
    width, height = (max(16, 2 * round(side * scale / 2)) for side in info.shown_size)
    return width, height


def _split(stream: Any, count: int) -> list[Any]:
    if count <= 1:
        return [stream] * count
    copies = stream.filter_multi_output("split", count)
    return [copies[number] for number in range(count)]


def _gray(stream: Any) -> Any:
    return stream.filter("setsar", 1).filter("format", "gray")


def _logged(stream: Any, name: str, path: Path) -> Any:
    return stream.filter(name, "print", file=f"file:{path}", direct=1)


def _read(path: Path) -> list[dict[str, float]]:
    """One dictionary a frame, as the (a)metadata filter prints them."""
    frames: list[dict[str, float]] = []
    if not path.exists():
        return frames
    for line in path.read_text("utf-8", errors="replace").splitlines():
        if line.startswith("frame:"):
            frames.append({"time": _number(line.rpartition("pts_time:")[2])})
        elif frames and "=" in line:
            name, _, value = line.partition("=")
            frames[-1][name] = _number(value)
    return frames


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _window(each: dict[str, float], info: MediaInfo) -> SoundWindow:
    stats = "lavfi.astats.Overall."
    rate = info.audio.sample_rate if info.audio else 48000
    peak = each.get(f"{stats}Peak_level", -math.inf)
    # 0 dBFS is the highest 16-bit value; Peak_count is how many samples have the window's peak.
    full = peak >= -0.001
    return SoundWindow(
        start=max(0.0, each["time"]),
        seconds=each.get(f"{stats}Number_of_samples", rate * WINDOW_SECONDS) / rate,
        rms=_level(each.get(f"{stats}RMS_level", -math.inf)),
        peak=_level(peak),
        full_scale=each.get(f"{stats}Peak_count", 0.0) if full else 0.0,
    )


def _level(value: float) -> float:
    return -math.inf if math.isnan(value) else value
