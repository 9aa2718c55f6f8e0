"""The renderer that the embedded fal uses unless told otherwise: ffmpeg, real H.264 and AAC, no model
anywhere.

It delivers exactly the size, frame count and frame rate of the job. x264 runs in one thread, because its
bytes depend on the number of threads; decoding and filters use the other cores and do not change the
result.
"""

import asyncio
import threading
from pathlib import Path
from typing import Any, Final

from prefect_ltx.local.pictures import pixel_format, sheet_walk, sound
from prefect_ltx.local.renderer import RenderCancelled, RenderJob, Report
from prefect_ltx.local.restyled import restyled_video
from prefect_ltx.local.stamp import STAND_IN
from prefect_ltx.media import BITEXACT, Progress, run_ffmpeg, target
from prefect_ltx.media.panels import find_panels, read_picture

_CRF: Final = {"low": 32, "medium": 26, "high": 20, "maximum": 14}
_PRESET: Final = {"fast": "ultrafast", "balanced": "veryfast", "small": "medium"}
_TIMEOUT: Final = 3600.0
_LOOK_SECONDS: Final = 0.05


class FfmpegRenderer:
    """Makes clips in one ffmpeg process each."""

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        """An MP4 in the job's folder.

        Raises:
            RenderCancelled: ffmpeg was ended because `cancelled` was set.
            FfmpegFailed: ffmpeg ended with an error.
        """
        made = job.folder / "clip.mp4"
        graph = _graph(job, made)
        asyncio.run(_run(graph, job.num_frames, progress, cancelled))
        return made


def _graph(job: RenderJob, made: Path) -> Any:
    request = job.request
    if request.SHEET_FIELD:
        assert job.image is not None
        sheet = read_picture(job.image)
        picture = sheet_walk(job, (sheet.width, sheet.height), find_panels(sheet))
    else:
        picture = restyled_video(job)
    streams = [picture]
    options: dict[str, Any] = {
        **BITEXACT,
        "c:v": "libx264",
        "preset": _PRESET[request.video_write_mode],
        "crf": _CRF[request.video_quality],
        "pix_fmt": pixel_format(job.width, job.height),
        "x264-params": "threads=1:lookahead-threads=1",
        "frames:v": job.num_frames,
        "r": f"{job.fps.numerator}/{job.fps.denominator}",
        # A time base in which every frame of this rate begins on a whole tick.
        "video_track_timescale": job.fps.numerator * (1 if job.fps.numerator >= 10_000 else 512),
        "movflags": "+faststart",
        "metadata:g:0": f"title={STAND_IN}",
        "metadata:g:1": f"comment={STAND_IN}",
    }
    if request.generate_audio:
        streams.append(sound(job))
        options |= {"c:a": "aac", "b:a": "128k"}
    return target(*streams, path=made, **options)


async def _run(graph: Any, frames: int, progress: Report, cancelled: threading.Event) -> None:
    def report(now: Progress) -> None:
        progress(now.fraction, "Rendering")

    work = asyncio.create_task(
        run_ffmpeg(graph, expected_frames=frames, on_progress=report, timeout=_TIMEOUT)
    )
    while not (await asyncio.wait({work}, timeout=_LOOK_SECONDS))[0]:
        if cancelled.is_set():
            work.cancel()
            await asyncio.wait({work})
            raise RenderCancelled
    await work
