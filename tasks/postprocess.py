"""Renditions of a downloaded video, as a recipe says, and how far their making is."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.generation import CollectedVideo, tell
from prefect_ltx.media import Progress, Recipe, Rendition, render_renditions
from prefect_ltx.tasks.context import flow_run_id, run_logger

_SHOW_SECONDS = 1.0


@task(name="post-process video", cache_policy=NO_CACHE)
async def postprocess_video(
    video: CollectedVideo | Path | str,
    *,
    recipe: str | Recipe = "web",
    folder: Path | str | None = None,
    lead_in_frames: int = 0,
) -> list[Rendition]:
    """Make and verify the renditions of a recipe with one decode; a cancelled run leaves no process and no file.

    Inside a flow run a progress artifact shows how far it is, once a second at most.

    Args:
        video: what `download_video` gave, or the path of any MP4.
        recipe: a `prefect_ltx.media.Recipe`, or the name of a ready-made one: `web` (poster, contact sheet,
            fast-start web copy at -14 LUFS, animated preview), `social`, `broadcast`, `review` or `none`.
        folder: where the files are written; by default `renditions` beside the video.
        lead_in_frames: frames at the start that show the reference sheet, to be cut off.

    Raises:
        MediaError: the video cannot be decoded or ffmpeg failed; the video itself is untouched.
    """
    label = Path(video).stem if not isinstance(video, CollectedVideo) else video.generation_id
    if isinstance(video, CollectedVideo):
        if "problem" in video.delivered:
            run_logger().warning("No renditions: the delivered video does not decode")
            return []
        video = video.path
    path = Path(video)
    target = Path(folder) if folder else path.parent / "renditions"
    async with _shown(label) as progress:
        renditions = await render_renditions(
            path, target, recipe=recipe, lead_in_frames=lead_in_frames, on_progress=progress.take
        )
    run_logger().debug("Rendered %s", ", ".join(each.name for each in renditions) or "nothing")
    return renditions


class _Progress:
    """Told by ffmpeg a few times a second; told on to the terminal, and at leisure to the artifact."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._percent = 0.0
        self._shown: float | None = None
        self._artifact: UUID | None = None

    def take(self, progress: Progress) -> None:
        """Note how far it is: called in the event loop, and quick."""
        self._percent = round(100 * progress.fraction, 1)
        tell("render", self._label, "rendering", progress.fraction)

    async def show(self) -> None:
        """Bring the artifact up to date, once a second (an update costs the server 27 ms)."""
        while True:
            await asyncio.sleep(_SHOW_SECONDS)
            await self.put()

    async def put(self) -> None:
        """Write the artifact, where there is something new to say."""
        # None that stays at 0: where nothing is rendered, or nothing was yet, there is nothing to show.
        if self._percent == (self._shown or 0.0):
            return
        what = f"Renditions of {self._label}"
        try:
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(
                    self._percent, key=_key(self._label), description=what
                )
            else:
                await aupdate_progress_artifact(self._artifact, self._percent, description=what)
        except Exception as error:  # a picture of the work must never end the work
            run_logger().debug("Progress artifact: %s", type(error).__name__)
        self._shown = self._percent


@asynccontextmanager
async def _shown(label: str) -> AsyncIterator[_Progress]:
    progress = _Progress(label)
    if flow_run_id() is None:
        yield progress
        return
    showing = asyncio.create_task(progress.show())
    try:
        yield progress
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
    await progress.put()


def _key(label: str) -> str:
    # Lowercase letters, digits and dashes only, and not longer than a generation's.
    return f"ltx-render-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')[:12] or 'video'}"
