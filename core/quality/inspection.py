"""Quality control of one delivered clip: what was asked against what came, and what a reviewer would see."""

import asyncio
import math
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from prefect_ltx.fal import endpoint_model
from prefect_ltx.media import (
    FfmpegFailed,
    MediaError,
    MediaInfo,
    MediaInvalid,
    plain_picture,
    probe,
    verify_video,
)
from prefect_ltx.quality import detect
from prefect_ltx.quality.detect import Clock
from prefect_ltx.quality.findings import QualityFinding, QualityReport
from prefect_ltx.quality.measure import Measures, measure
from prefect_ltx.quality.stills import Still, stills_of


async def inspect(
    video: Path | str,
    *,
    asked: Mapping[str, Any],
    endpoint: str,
    sheet: Path | str | None = None,
    reference: Path | str | None = None,
    decoded: bool = False,
    timeout: float = 120,
) -> QualityReport:
    """Check a clip against what was asked of it and against its references.

    Two passes: every frame is decoded and counted, then one ffmpeg process measures picture, sound, sheet and
    reference together.

    Args:
        video: the delivered file.
        asked: width, height, num_frames, frames_per_second, audio; what is missing is not compared.
        endpoint: fal's endpoint; the sheet is looked for in clips of `ingredient` only.
        sheet: the reference sheet; without it nobody looks for it in the clip.
        reference: the reference video; without it the structure is not compared.
        decoded: whether every frame was decoded and counted before; then the first pass is left out.
        timeout: seconds for the measurements, after which the report says `unmeasured`.

    Never raises for what is in the files: a clip that cannot be read is a finding, and a reference that cannot
    be read is left out, with an `unmeasured` finding that says so.

    Raises:
        FileNotFoundError: there is no such video.
    """
    with tempfile.TemporaryDirectory(prefix="ltx-quality-") as folder:
        return await _inspected(
            Path(video), asked, endpoint, sheet, reference, Path(folder), decoded=decoded, timeout=timeout
        )


async def _inspected(
    video: Path,
    asked: Mapping[str, Any],
    endpoint: str,
    sheet: Path | str | None,
    reference: Path | str | None,
    folder: Path,
    *,
    decoded: bool,
    timeout: float,
) -> QualityReport:
    if not video.is_file():
        raise FileNotFoundError(f"{video}: there is no such video to inspect")
    try:
        info = await asyncio.to_thread(probe, video) if decoded else await verify_video(video)
    except MediaInvalid as error:
        return _unreadable(endpoint, error, await _header(video))
    findings = detect.compare(asked, info)
    stills: list[Still] = []
    model = endpoint_model(endpoint)
    sheet = Path(sheet) if sheet and model and model.SHEET_FIELD else None
    reference = Path(reference) if reference else None
    if sheet is not None:
        try:
            sheet = await plain_picture(sheet, folder)
            stills = await asyncio.to_thread(stills_of, sheet)
        except (MediaError, OSError) as error:
            findings.append(_unmeasured(f"the reference sheet was not looked for: {error}"))
            sheet = None
    if reference is not None:
        try:
            await asyncio.to_thread(probe, reference)
        except (MediaError, OSError) as error:
            findings.append(_unmeasured(f"the reference video was not compared: {error}"))
            reference = None
    try:
        measures = await measure(
            video, info, sheet=sheet, stills=stills, reference=reference, timeout=timeout
        )
    except FfmpegFailed as error:
        findings.append(_unmeasured(f"picture and sound were not measured: {error}"))
        return _report(endpoint, info, findings, {})
    findings += _judged(measures, Clock.of(info, measures.frames))
    return _report(endpoint, info, findings, _figures(measures))


def _judged(measures: Measures, clock: Clock) -> list[QualityFinding]:
    shown = detect.lead_in(measures, clock) if measures.similar else None
    frames = measures.frames
    picture = [*detect.black(frames, clock), *detect.frozen(frames, clock), *detect.cuts(frames, clock)]
    if shown is not None:
        # A sheet stands still and ends in a cut: that is one finding, not three.
        end = shown.end_frame or 0
        picture = [each for each in picture if not _explained(each, end)]
        picture.insert(0, shown)
    structure = detect.structure(measures.reference, clock)
    found = [*picture, *([structure] if structure else [])]
    return [*found, *detect.silent(measures.sound), *detect.clipped(measures.sound)]


def _explained(finding: QualityFinding, lead_in_end: int) -> bool:
    if finding.kind == "cut":
        return (finding.start_frame or 0) <= lead_in_end
    return finding.kind == "frozen" and (finding.end_frame or 0) <= lead_in_end + 1


def _figures(measures: Measures) -> dict[str, float]:
    figures: dict[str, float | None] = {
        "black_share": detect.mean_of([each.black for each in measures.frames]),
        "mean_change": detect.mean_of([each.change for each in measures.frames[1:]]),
        "highest_cut_score": max((each.cut for each in measures.frames[1:]), default=None),
        "reference_ssim": detect.mean_of(measures.reference),
        "first_frame_sheet_ssim": max((each[0] for each in measures.similar.values() if each), default=None),
        "audio_peak_dbfs": max((each.peak for each in measures.sound), default=None),
    }
    return {name: round(value, 6) for name, value in figures.items() if value is not None and _plain(value)}


def _plain(value: float) -> bool:
    # JSON knows no infinity, and -inf dBFS is what `silent` says.
    return math.isfinite(value)


def _report(
    endpoint: str, info: MediaInfo, findings: list[QualityFinding], measures: dict[str, float]
) -> QualityReport:
    return QualityReport(
        endpoint=endpoint,
        frames=info.frames,
        fps=info.fps,
        duration=info.duration,
        findings=tuple(sorted(findings, key=lambda each: each.start_seconds or 0.0)),
        measures=measures,
    )


async def _header(video: Path) -> MediaInfo | None:
    try:
        return await asyncio.to_thread(probe, video)
    except MediaInvalid:
        return None


def _unreadable(endpoint: str, error: MediaInvalid, info: MediaInfo | None) -> QualityReport:
    finding = QualityFinding(kind="undecodable", severity="error", message="; ".join(error.problems))
    duration = float(info.frames / Fraction(info.fps)) if info and info.frame_rate else 0.0
    return QualityReport(
        endpoint=endpoint,
        frames=info.frames if info else 0,
        fps=info.fps if info else "0",
        duration=duration,
        findings=(finding,),
    )


def _unmeasured(message: str) -> QualityFinding:
    return QualityFinding(kind="unmeasured", severity="info", message=message)
