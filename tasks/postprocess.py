"""Renditions of a downloaded video: poster, contact sheet, web copy, preview."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_ltx.engine import CollectedVideo
from prefect_ltx.media import Rendition, render_renditions
from prefect_ltx.tasks.context import run_logger


@task(name="post-process video", cache_policy=NO_CACHE)
async def postprocess_video(
    video: CollectedVideo | Path | str, *, recipe: str = "web", folder: Path | str | None = None
) -> list[Rendition]:
    """Make and verify the renditions of a recipe with one ffmpeg process.

    Args:
        video: what `download_video` gave, or the path of any MP4.
        recipe: `web` (poster, contact sheet, fast-start web copy at -14 LUFS, animated preview) or `none`.
        folder: where the files are written; by default `renditions` beside the video.

    Raises:
        MediaError: the video cannot be decoded or ffmpeg failed; the video itself is untouched.
    """
    if isinstance(video, CollectedVideo):
        if "problem" in video.delivered:
            run_logger().warning("No renditions: the delivered video does not decode")
            return []
        video = video.path
    path = Path(video)
    target = Path(folder) if folder else path.parent / "renditions"
    renditions = await render_renditions(path, target, recipe=recipe)
    run_logger().info("Rendered %s", ", ".join(each.name for each in renditions) or "nothing")
    return renditions
