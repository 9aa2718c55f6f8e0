"""What a finding looks like: the frame in the middle of it, as a small JPEG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ffmpeg

from prefect_ltx.media import BITEXACT, Rendition, run_ffmpeg, sha256_file, source, target, verify_image
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
    shown = _frames(report.findings)
    if not shown:
        return []
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {number: folder / f"finding-{number}.jpg" for number in shown}
    # JPEG is read as BT.601, full range.
    small = (
        source(video)
        .video.filter("scale", f"min({WIDTH},iw)", -2, out_color_matrix="bt601", out_range="pc")
        .filter("format", "yuvj420p")
    )
    branches = small.filter_multi_output("split", len(shown)) if len(shown) > 1 else [small]
    outputs = [
        target(
            branches[place].filter("select", f"eq(n,{frame})"),
            path=paths[number],
            **{"q:v": 4, "fps_mode": "passthrough", **BITEXACT},
        )
        for place, (number, frame) in enumerate(shown.items())
    ]
    await run_ffmpeg(ffmpeg.merge_outputs(*outputs), timeout=timeout)
    return [await _rendition(paths[number], report.findings[number - 1], shown[number]) for number in shown]


def _frames(findings: Sequence[QualityFinding]) -> dict[int, int]:
    shown: dict[int, int] = {}
    for number, each in enumerate(findings, 1):
        if each.start_frame is not None and each.end_frame is not None and len(shown) < MOST_PICTURES:
            shown[number] = (each.start_frame + max(each.start_frame, each.end_frame - 1)) // 2
    return shown


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
