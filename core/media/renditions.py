"""What is made of a delivered video: a recipe carried out, checked, and put in place.

The video is decoded once, in one ffmpeg process that feeds all outputs; only the loudness is measured before.
Everything is made in a folder of its own beside the results, decoded in full and compared with what was asked,
and then moved under its name, file by file, each atomically. The same video and recipe give the same bytes with
the same ffmpeg.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from prefect_ltx.media.check import check_file, content_type, together
from prefect_ltx.media.errors import LoudnessMissed, MediaError, MediaInvalid
from prefect_ltx.media.files import sha256_file
from prefect_ltx.media.info import MediaInfo
from prefect_ltx.media.jobs import Expected
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.loudness import TRUE_PEAK_DBTP, Level, find_level
from prefect_ltx.media.plan import RenderPlan, cut_of, render_plan
from prefect_ltx.media.probe import frame_times, probe
from prefect_ltx.media.process import Progress, run_ffmpeg
from prefect_ltx.media.recipe import Recipe
from prefect_ltx.media.recipes import recipe_named
from prefect_ltx.media.shape import Shape, shape_of
from prefect_ltx.media.verify import verify_video

_RENDERED = 0.9  # of the progress; the rest is the check
_PEAK_ROUNDS = 3


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
    recipe: str | Recipe = "web",
    lead_in_frames: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float = 600,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Rendition]:
    """Make the renditions of a recipe in `out_dir` (made if missing), replacing those that are there.

    Args:
        video: An MP4, MOV, WebM or MKV on this machine.
        out_dir: Where the files go.
        recipe: A `Recipe`, or the name of a ready-made one: `web`, `social`, `broadcast`, `review`, `none`.
        lead_in_frames: Frames at the start that show the reference sheet, as quality control found them; cut
            off with their sound, unless the recipe keeps them.
        on_progress: Called in the event loop, a few times a second; 1.0 is said once, in the end.
        timeout: Seconds of wall time for each ffmpeg process.
        limits: Bounds on the video and on ffmpeg.

    Raises:
        MediaInvalid: the source is no readable video or beyond a limit, or a rendition did not come out right.
        FfmpegFailed: ffmpeg failed or went beyond a limit or `timeout`.
        ValueError: no such recipe.
    """
    if isinstance(recipe, str):
        recipe = recipe_named(recipe)
    if lead_in_frames < 0:
        raise ValueError("a lead-in cannot have fewer than 0 frames")
    if not recipe.outputs:
        return []
    video, out_dir = Path(video), Path(out_dir)
    work = _Work(video, recipe, timeout, limits, _Report(on_progress))
    info = await asyncio.to_thread(probe, video, limits=limits)
    if info.kind != "video":
        raise MediaInvalid(video.name, [f"is a {info.container} image, not a video"])
    times = None if info.constant else await asyncio.to_thread(frame_times, video, limits=limits)
    shape = shape_of(info, recipe, name=video.name, lead_in_frames=lead_in_frames, times=times)
    out_dir.mkdir(parents=True, exist_ok=True)
    staging = out_dir / f".render-{secrets.token_hex(6)}.part"
    staging.mkdir()
    try:
        made = await _levelled(work, info, shape, staging)
        await asyncio.to_thread(_publish, made, out_dir)
    finally:
        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
    work.report.done(info.frames)
    return [rendition.model_copy(update={"path": out_dir / rendition.path.name}) for rendition in made]


class _Report:
    """Passes progress on; the end is said once, when the renditions are in place."""

    def __init__(self, to: Callable[[Progress], None] | None) -> None:
        self._to = to
        self._last = -1.0

    def rendering(self, progress: Progress) -> None:
        # A second attempt starts over; what was told does not go back.
        if self._to is not None and _RENDERED * progress.fraction > self._last:
            self._last = _RENDERED * progress.fraction
            self._to(Progress(self._last, progress.frame))

    def done(self, frames: int) -> None:
        if self._to is not None:
            self._to(Progress(1.0, frames))


class _Work:
    def __init__(self, video: Path, recipe: Recipe, timeout: float, limits: Limits, report: _Report) -> None:
        self.video = video
        self.recipe = recipe
        self.timeout = timeout
        self.limits = limits
        self.report = report

    @property
    def true_peak(self) -> float:
        return self.recipe.loudness.true_peak if self.recipe.loudness else TRUE_PEAK_DBTP


async def _find_level(work: _Work, info: MediaInfo, shape: Shape) -> Level | None:
    wanted = work.recipe.loudness
    if wanted is None or info.audio is None or shape.sound_seconds is None:
        return None
    return await find_level(
        work.video,
        info.audio,
        target=wanted.lufs,
        true_peak=wanted.true_peak,
        start=info.start,
        cut=cut_of(shape, info),
        timeout=work.timeout,
        limits=work.limits,
    )


async def _levelled(work: _Work, info: MediaInfo, shape: Shape, staging: Path) -> list[Rendition]:
    """The renditions at the loudness asked for; as loud as the source where that cannot be reached."""
    level = await _find_level(work, info, shape)
    for _ in range(_PEAK_ROUNDS):
        try:
            return await _made(work, info, shape, level, staging)
        except LoudnessMissed as missed:
            if level is None or not missed.over:
                break
            # An AAC encoder adds to a sharp onset (1.6 dB, measured): the limiter leaves it as much room.
            limit = work.true_peak if level.limit is None else level.limit
            level = replace(level, limit=limit - missed.over)
    return await _made(work, info, shape, None, staging)


async def _made(
    work: _Work, info: MediaInfo, shape: Shape, level: Level | None, staging: Path
) -> list[Rendition]:
    def planned(*, may_copy: bool) -> RenderPlan | None:
        return render_plan(
            work.video,
            info,
            shape,
            work.recipe,
            staging,
            level=level,
            limits=work.limits,
            may_copy=may_copy,
        )

    plan = planned(may_copy=True)
    if plan is None:
        return []
    try:
        return await _carried_out(work, plan)
    except LoudnessMissed:
        raise
    except MediaError:
        if not plan.copies:
            raise
    # What cannot be copied faultlessly (odd time stamps, an edit list) may still be encoded.
    plan = planned(may_copy=False)
    assert plan is not None
    return await _carried_out(work, plan)


async def _carried_out(work: _Work, plan: RenderPlan) -> list[Rendition]:
    await run_ffmpeg(
        plan.graph,
        expected_frames=plan.steady_frames or None,
        on_progress=work.report.rendering,
        timeout=work.timeout,
        limits=work.limits,
    )
    for each in plan.files:
        if each.text is not None:
            await asyncio.to_thread(each.path.write_text, each.text, "utf-8")
    if not plan.counts_frames:
        # No output has every frame, so none of them shows that the video could be decoded to its end.
        await verify_video(work.video, limits=work.limits)
    return await together([_rendition(each, work) for each in plan.files])


async def _rendition(expected: Expected, work: _Work) -> Rendition:
    if not expected.path.is_file():
        raise MediaInvalid(expected.path.name, ["was not written"])
    facts = await check_file(expected, true_peak=work.true_peak, limits=work.limits)
    return Rendition(
        name=expected.name,
        path=expected.path,
        content_type=content_type(expected.path),
        sha256=await asyncio.to_thread(sha256_file, expected.path),
        size=expected.path.stat().st_size,
        facts=facts,
    )


def _publish(made: list[Rendition], out_dir: Path) -> None:
    for rendition in made:
        with contextlib.suppress(OSError), rendition.path.open("rb") as file:
            os.fsync(file.fileno())
        rendition.path.replace(out_dir / rendition.path.name)
