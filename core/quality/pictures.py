"""What a finding looks like: the frame in the middle of it, as a small JPEG."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ffmpeg

from prefect_ltx.media import (
    BITEXACT,
    Rendition,
    probe,
    run_ffmpeg,
    sha256_file,
    source,
    target,
    verify_image,
)
from prefect_ltx.media.graph import BT709
from prefect_ltx.media.shape import even
from prefect_ltx.media.shown import in_bt709, shown
from prefect_ltx.quality.findings import QualityFinding, QualityReport

WIDTH: Final = 640
MOST_PICTURES: Final = 12


async def finding_pictures(
    video: Path | str, report: QualityReport, folder: Path | str, *, timeout: float = 120
) -> list[Rendition]:
    """Write `finding-<n>.jpg` for the n-th finding (from 1) that has frames, at most twelve, with one ffmpeg run.

    Findings of the sound and of the whole clip's header have no picture.

    Raises:
        MediaError: the video cannot be decoded.
    """
    frames = _frames(report.findings)
    if not frames:
        return []
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {number: folder / f"finding-{number}.jpg" for number in frames}
    info = await asyncio.to_thread(probe, video)
    wide, high = info.shown_size
    width = even(min(WIDTH, wide))
    small = in_bt709(shown(source(video), info), info).filter("setparams", **BT709)
    # JPEG is read as BT.601, full range.
    small = small.filter(
        "scale", width, even(round(width * high / wide)), out_color_matrix="bt601", out_range="pc"
    )
    small = small.filter("setsar", 1).filter("format", "yuvj420p")
    branches = small.filter_multi_output("split", len(frames)) if len(frames) > 1 else [small]
    outputs = [
        target(
            branches[place].filter("select", f"eq(n,{frame})"),
            path=paths[number],
            **{"q:v": 4, "fps_mode": "passthrough", **BITEXACT},
        )
        for place, (number, frame) in enumerate(frames.items())
    ]
    await run_ffmpeg(ffmpeg.merge_outputs(*outputs), timeout=timeout)
    return [await _rendition(paths[number], report.findings[number - 1], frames[number]) for number in frames]


def _frames(findings: Sequence[QualityFinding]) -> dict[int, int]:
    frames: dict[int, int] = {}
    for number, each in enumerate(findings, 1):
        if each.start_frame is not None and each.end_frame is not None and len(frames) < MOST_PICTURES:
            frames[number] = (each.start_frame + max(each.start_frame, each.end_frame - 1)) // 2
    return frames


async def _rendition(path: Path, finding: QualityFinding, frame: int) -> Rendition:
    info = await verify_image(path)
    return Rendition(
        name=path.stem,
        path=path,
        content_type="image/jpeg",
        sha256=sha256_file(path),
        size=info.size,
        facts={"width": info.width, "height": info.height, "frame": frame, "finding": finding.kind},
    )
