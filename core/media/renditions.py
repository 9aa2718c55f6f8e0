"""What is made of a delivered video: pictures to look at, a copy for the web, a preview.

The recipe `web` decodes the video once, in one ffmpeg process that feeds all outputs; only the loudness is
measured before. Every rendition is checked (decoded, size, frames) before it is handed out, and the same
video gives the same bytes with the same ffmpeg.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ffmpeg
from pydantic import BaseModel, ConfigDict, Field

from prefect_ltx.media.files import sha256_file
from prefect_ltx.media.loudness import measure_loudness
from prefect_ltx.media.probe import MediaInfo, probe
from prefect_ltx.media.process import Progress, run_ffmpeg
from prefect_ltx.media.verify import verify_image, verify_video
from prefect_ltx.media.web import WebPlan, web_plan

RECIPES = ("web", "none")


class Rendition(BaseModel):
    """One file made of a video; `facts` are its size, frames and what was done (JSON values)."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: Path
    content_type: str
    sha256: str
    size: int
    facts: dict[str, Any] = Field(default_factory=dict)


async def render_renditions(
    video: Path | str,
    out_dir: Path | str,
    *,
    recipe: str = "web",
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float = 600,
) -> list[Rendition]:
    """Make the renditions of a recipe in `out_dir` (made if missing), replacing those that are there.

    `web` gives `poster.jpg` (the most typical of the first frames, full size), `contact_sheet.jpg` (up to 12
    frames), `web.mp4` (H.264 copied where it is fit, fast start, loudness -14 LUFS, true peak -1.5 dBTP) and
    `preview.webp` (animated, at most 480 pixels wide). `none` gives nothing.

    Raises:
        MediaInvalid: the source is no readable video, or a rendition did not come out right.
        FfmpegFailed: ffmpeg failed or took longer than `timeout` seconds.
        ValueError: no such recipe.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no recipe is called {recipe!r}; there are {', '.join(RECIPES)}")
    if recipe == "none":
        return []
    video, out_dir = Path(video), Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    info = await asyncio.to_thread(probe, video)
    loudness = await measure_loudness(video, timeout=timeout) if info.audio else None
    plan = web_plan(video, info, out_dir, loudness)
    await run_ffmpeg(
        ffmpeg.merge_outputs(*plan.outputs),
        expected_frames=info.frames,
        on_progress=on_progress and _but_not_the_end(on_progress),
        timeout=timeout,
    )
    renditions = await _verified(plan, info)
    if on_progress is not None:
        on_progress(Progress(1.0, info.frames))
    return renditions


def _but_not_the_end(report: Callable[[Progress], None]) -> Callable[[Progress], None]:
    def pass_on(progress: Progress) -> None:
        if progress.fraction < 1:  # the end is when the renditions are verified
            report(progress)

    return pass_on


async def _verified(plan: WebPlan, info: MediaInfo) -> list[Rendition]:
    web_size = plan.web_size
    checks = {
        "poster": verify_image(plan.poster, width=info.width, height=info.height),
        "contact_sheet": verify_image(plan.sheet, width=plan.sheet_size[0], height=plan.sheet_size[1]),
        "web": verify_video(
            plan.web,
            width=web_size[0],
            height=web_size[1],
            frames=info.frames,
            audio=info.audio is not None,
        ),
        "preview": verify_image(plan.preview, width=plan.preview_size[0], height=plan.preview_size[1]),
    }
    paths = {
        "poster": plan.poster,
        "contact_sheet": plan.sheet,
        "web": plan.web,
        "preview": plan.preview,
    }
    found = dict(zip(checks, await asyncio.gather(*checks.values()), strict=True))
    return [
        await asyncio.to_thread(_rendition, name, paths[name], found[name], plan.facts.get(name, {}))
        for name in paths
    ]


def _rendition(name: str, path: Path, info: MediaInfo, facts: dict[str, Any]) -> Rendition:
    seen: dict[str, Any] = {"width": info.width, "height": info.height}
    if info.frames > 1:
        seen |= {"frames": info.frames, "fps": info.fps, "duration": round(info.duration, 6)}
    if info.audio is not None:
        seen |= {"audio": info.audio.model_dump()}
    return Rendition(
        name=name,
        path=path,
        content_type=info.content_type,
        sha256=sha256_file(path),
        size=info.size,
        facts=seen | facts,
    )
