"""A renderer that copies one clip, whatever was asked: for measuring orchestration without rendering.

It is billed by what the clip holds, as everything is.
"""

import functools
import shutil
import tempfile
import threading
from fractions import Fraction
from pathlib import Path

from prefect_ltx.fal import ReferenceVideoRequest
from prefect_ltx.local.ffmpeg_renderer import FfmpegRenderer
from prefect_ltx.local.renderer import RenderCancelled, RendererUnusable, RenderJob, Report
from prefect_ltx.media import MediaInvalid, probe


class StoredClipRenderer:
    """Gives every job a copy of `clip`; without one, of 9 frames of 256x144 that it renders when first
    asked."""

    def __init__(self, clip: Path | None = None) -> None:
        """The clip is read now: it may go afterwards."""
        self._lock = threading.Lock()
        self._clip = None if clip is None else _checked(clip).read_bytes()

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        """A copy in the job's folder.

        Raises:
            RenderCancelled: `cancelled` was set before it began.
        """
        with self._lock:
            if self._clip is None:
                self._clip = _small_clip()
        if cancelled.is_set():
            raise RenderCancelled
        made = job.folder / "clip.mp4"
        made.write_bytes(self._clip)
        return made


def _checked(clip: Path) -> Path:
    try:
        info = probe(clip)
    except MediaInvalid as error:
        raise RendererUnusable(f"The stored clip cannot be used: {error}") from error
    if info.kind != "video":
        raise RendererUnusable(f"The stored clip cannot be used: {clip.name} is a {info.container} image")
    return clip


@functools.cache
def _small_clip() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="prefect-ltx-clip-"))
    try:
        job = RenderJob(
            request_id="stored-clip",
            # Strength 0 shows nothing of the reference, so none is needed.
            request=ReferenceVideoRequest(
                prompt="stored clip", video_url="data:", video_strength=0, video_write_mode="fast"
            ),
            seed=0,
            prompt="stored clip",
            width=256,
            height=144,
            num_frames=9,
            fps=Fraction(24),
            video=folder,
            image=None,
            folder=folder,
        )
        return FfmpegRenderer().render(job, lambda *_: None, threading.Event()).read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
