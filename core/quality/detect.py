"""From figures to findings: pure functions, each with the threshold it uses and why.

Times come from the frame rate, or from the frames where they come unevenly, so that a finding's frames and seconds
say the same.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Self

from prefect_ltx.media import MediaInfo, frame_rate
from prefect_ltx.quality.findings import FindingKind, QualityFinding, Severity
from prefect_ltx.quality.measure import Measures, PictureFrame, SoundWindow

LEAD_IN_SSIM: Final = 0.6
"""A frame at least this similar to the sheet shows it: 0.9999 was measured on it, 0.46 after (ltx-model §2)."""
PANEL_SSIM: Final = 0.8
"""One panel fills the frame; higher, because a good clip is meant to look like a panel in places."""
PANEL_CHANGE: Final = 0.1
"""A panel that is shown stands still, then cuts; a shot that begins like it moves by more than this in percent."""
CUT_SCORE: Final = 10.0
"""ffmpeg's own threshold of `scdet`; a cut from the sheet to the shot scored 28."""
CUT_ALONE: Final = 0.5
"""A cut is one frame that changes; where its neighbours change by more than this part of it, the camera whips."""
STILL_CHANGE: Final = 0.02
"""Percent of the luma range by which a frame may differ from the last and count as the same."""
STRUCTURE_SSIM: Final = 0.15
"""Below this mean similarity a clip does not follow its reference video in any visible way."""
_BLACK_SHARE: Final = 0.98
_BLACK_SECONDS: Final = 0.2
_FROZEN_SECONDS: Final = 1.0
_SILENT_DBFS: Final = -60.0
_SILENT_SECONDS: Final = 1.5
_CLIPPED_SAMPLES: Final = 3  # in one window of 50 ms; two samples at full scale are no audible fault
_CLIPPED_SECONDS: Final = 0.1
_CLIPPED_PEAK: Final = -1.0
_CLIPPED_CREST: Final = 2.5  # dB from loudness to peak; a pure tone has 3, a tone with flat tops less


@dataclass(frozen=True)
class Clock:
    """How many frames there are, and when each is shown: at an even `rate`, else at `times`."""

    frames: int
    rate: Fraction
    times: tuple[float, ...] = ()
    """In seconds from the first, with the end of the last; empty where they come evenly."""

    @classmethod
    def of(cls, info: MediaInfo, frames: Sequence[PictureFrame]) -> Self:
        """The clock of a measured clip."""
        times = () if info.constant else (*(each.start for each in frames), info.duration)
        return cls(info.frames, info.frame_rate, times)

    def seconds(self, frame: int) -> float:
        """When a frame begins."""
        if self.times:
            return round(self.times[min(frame, len(self.times) - 1)], 6)
        return round(float(frame / self.rate), 6) if self.rate else 0.0


def compare(asked: Mapping[str, Any], info: MediaInfo) -> list[QualityFinding]:
    """Asked against delivered. `asked` may hold width, height, num_frames, frames_per_second and audio."""
    found: list[QualityFinding] = []

    def add(kind: FindingKind, severity: Severity, message: str) -> None:
        found.append(QualityFinding(kind=kind, severity=severity, message=message))

    size = (asked.get("width", info.width), asked.get("height", info.height))
    if size != (info.width, info.height):
        add("size", "warning", f"{info.width}x{info.height} pixels were delivered, {size[0]}x{size[1]} asked")
    frames = asked.get("num_frames", info.frames)
    if frames != info.frames:
        add("frames", "warning", f"{info.frames} frames were delivered, {frames} asked")
    rate = asked.get("frames_per_second")
    if rate is not None and abs(frame_rate(rate) - info.frame_rate) > Fraction(1, 1000):
        add("frame_rate", "warning", f"{info.fps} frames per second were delivered, {rate} asked")
    audio = asked.get("audio")
    if audio is True and info.audio is None:
        add("audio_missing", "error", "audio was asked for, and the clip has no audio")
    if audio is False and info.audio is not None:
        add("audio_unasked", "warning", "no audio was asked, and there is some")
    return found


def lead_in(measures: Measures, clock: Clock) -> QualityFinding | None:
    """The reference sheet, or one of its panels, at the beginning of the clip or for ever."""
    name, length, score = max(
        ((name, *_opening(name, series, measures.frames)) for name, series in measures.similar.items()),
        key=_longest,
    )
    if length == 0:
        return None
    for_ever = length >= clock.frames
    what = "reference sheet" if name == "sheet" else f"reference sheet's {name}"
    return QualityFinding(
        kind="sheet_throughout" if for_ever else "sheet_lead_in",
        severity="error",
        message=f"the {what} shows "
        + ("in the whole clip" if for_ever else f"in the first {length} of {clock.frames} frames"),
        score=round(score, 4),
        **_range(clock, 0, length),
    )


def black(frames: Sequence[PictureFrame], clock: Clock) -> Iterator[QualityFinding]:
    """Stretches without a picture."""
    for start, end in _stretches(frames, lambda each: each.black >= _BLACK_SHARE):
        whole = end - start == len(frames)
        if whole or _lasts(clock, start, end, _BLACK_SECONDS):
            yield QualityFinding(
                kind="black",
                severity="error" if whole else "warning",
                message="the whole clip is black" if whole else f"{end - start} black frames",
                score=min(each.black for each in frames[start:end]),
                **_range(clock, start, end),
            )


def frozen(frames: Sequence[PictureFrame], clock: Clock) -> Iterator[QualityFinding]:
    """Stretches in which nothing moves."""
    for first, end in _stretches(frames[1:], lambda each: each.change <= STILL_CHANGE):
        # The frame before the first still one is the one that is repeated.
        start, end = first, end + 1
        whole = end - start == len(frames)
        if whole or _lasts(clock, start, end, _FROZEN_SECONDS):
            yield QualityFinding(
                kind="frozen",
                severity="error" if whole else "warning",
                message="nothing moves in the whole clip"
                if whole
                else f"nothing moves for {end - start} frames",
                score=max(each.change for each in frames[start + 1 : end]),
                **_range(clock, start, end),
            )


def cuts(frames: Sequence[PictureFrame], clock: Clock) -> Iterator[QualityFinding]:
    """Changes of scene; both endpoints are asked for one continuous shot."""
    for number, each in enumerate(frames):
        if _is_cut(frames, number):
            yield QualityFinding(
                kind="cut",
                severity="warning",
                message=f"the scene changes at frame {number}",
                score=round(each.cut, 3),
                **_range(clock, number, number + 1),
            )


def silent(windows: Sequence[SoundWindow]) -> Iterator[QualityFinding]:
    """Stretches without sound."""
    for start, end in _stretches(windows, lambda each: each.rms <= _SILENT_DBFS):
        span = windows[start:end]
        seconds, whole = sum(each.seconds for each in span), len(span) == len(windows)
        if whole or seconds >= _SILENT_SECONDS:
            yield QualityFinding(
                kind="silent",
                severity="error" if whole else "warning",
                message="the audio is silent from beginning to end"
                if whole
                else f"{seconds:.1f} s of silence",
                score=max((each.peak for each in span if math.isfinite(each.peak)), default=None),
                **_span(span),
            )


def clipped(windows: Sequence[SoundWindow]) -> Iterator[QualityFinding]:
    """Stretches in which the sound is cut off at full scale, or was before AAC rounded its flat tops."""
    for start, end in _stretches(windows, _is_clipped):
        span = windows[start:end]
        seconds = sum(each.seconds for each in span)
        if seconds >= _CLIPPED_SECONDS:
            yield QualityFinding(
                kind="clipped",
                severity="warning",
                message=f"{seconds:.1f} s of the audio are clipped",
                score=max(each.peak for each in span),
                **_span(span),
            )


def structure(similar: Sequence[float], clock: Clock) -> QualityFinding | None:
    """Whether the clip follows its reference video."""
    mean = mean_of(similar)
    if mean is None or mean >= STRUCTURE_SSIM:
        return None
    return QualityFinding(
        kind="structure",
        severity="warning",
        message=f"the clip does not follow the reference video (similarity {mean:.2f})",
        score=round(mean, 4),
        **_range(clock, 0, clock.frames),
    )


def mean_of(series: Sequence[float]) -> float | None:
    """The mean, or None of nothing."""
    return sum(series) / len(series) if series else None


def _opening(name: str, series: Sequence[float], frames: Sequence[PictureFrame]) -> tuple[int, float]:
    """How many frames from the first on show the still, and how well."""
    least = LEAD_IN_SSIM if name == "sheet" else PANEL_SSIM
    length = next((at for at, score in enumerate(series) if score < least), len(series))
    if name != "sheet":
        moves = next((at for at, each in enumerate(frames) if at and each.change > PANEL_CHANGE), len(frames))
        ends = moves >= len(frames) or _is_cut(frames, moves)
        length = moves if ends and moves <= length else 0
    return length, min(series[:length], default=0.0)


def _is_clipped(each: SoundWindow) -> bool:
    flat = each.peak >= _CLIPPED_PEAK and each.peak - each.rms < _CLIPPED_CREST
    return flat or each.full_scale >= _CLIPPED_SAMPLES


def _is_cut(frames: Sequence[PictureFrame], number: int) -> bool:
    each = frames[number]
    around = [*frames[max(1, number - 1) : number], *frames[number + 1 : number + 2]]
    alone = max((other.change for other in around), default=0.0) <= CUT_ALONE * each.change
    return number > 0 and each.cut >= CUT_SCORE and alone


def _longest(found: tuple[str, int, float]) -> tuple[int, float]:
    return found[1], found[2]


def _lasts(clock: Clock, start: int, end: int, seconds: float) -> bool:
    return clock.seconds(end) - clock.seconds(start) >= seconds - 1e-5


def _range(clock: Clock, start: int, end: int) -> dict[str, Any]:
    return {
        "start_frame": start,
        "end_frame": end,
        "start_seconds": clock.seconds(start),
        "end_seconds": clock.seconds(end),
    }


def _span(windows: Sequence[SoundWindow]) -> dict[str, Any]:
    end = windows[-1].start + windows[-1].seconds
    return {"start_seconds": round(windows[0].start, 6), "end_seconds": round(end, 6)}


def _stretches(series: Sequence[Any], holds: Callable[[Any], bool]) -> Iterator[tuple[int, int]]:
    start: int | None = None
    for at, each in enumerate(series):
        if holds(each):
            start = at if start is None else start
        elif start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, len(series)
