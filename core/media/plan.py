"""The whole recipe as one ffmpeg graph: one decode, the clip's operations once, then a branch for each output.

Copied pictures go past the decoder.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from prefect_ltx.media.graph import BT709, source
from prefect_ltx.media.info import MediaInfo
from prefect_ltx.media.jobs import Clip, Expected, Job
from prefect_ltx.media.limits import Limits
from prefect_ltx.media.loudness import Cut, Level, prepared
from prefect_ltx.media.moving import audio_job, hls_job, proxy_job, social_job, web_job
from prefect_ltx.media.pictures import contact_sheet_job, poster_job, preview_job, thumbnails_job
from prefect_ltx.media.recipe import (
    AudioFile,
    ContactSheet,
    HlsVideo,
    Output,
    Poster,
    Preview,
    ProxyVideo,
    Recipe,
    SocialVideo,
    Thumbnails,
    WebVideo,
)
from prefect_ltx.media.shape import Shape, covering
from prefect_ltx.media.shown import in_bt709, own_clock, shown


@dataclass(frozen=True)
class RenderPlan:
    """One ffmpeg graph, the files it must give in the recipe's order, and what tells its progress."""

    graph: Any
    files: tuple[Expected, ...]
    steady_frames: int
    """Frames of the first output, whose number grows evenly over the run."""
    copies: bool
    counts_frames: bool
    """Whether some output has every frame of the clip, so that checking it proves that all were decoded."""


def render_plan(
    video: Path,
    info: MediaInfo,
    shape: Shape,
    recipe: Recipe,
    folder: Path,
    *,
    level: Level | None,
    limits: Limits,
    may_copy: bool = True,
) -> RenderPlan | None:
    """Lay out a recipe for a probed clip; None where nothing is to be made of it."""
    clip = Clip(video, info, shape, level, folder, may_copy, source(video, limits=limits))
    jobs = [job for output in recipe.outputs if (job := _job(clip, output)) is not None]
    if not jobs:
        return None
    files = tuple(file for job in jobs for file in job.files)
    # ffmpeg reports the frames of its first output.
    jobs.sort(key=lambda job: (-job.weight, job.steady == 0))
    return RenderPlan(
        graph=own_clock(ffmpeg.merge_outputs(*_nodes(clip, jobs))),
        files=files,
        steady_frames=jobs[0].steady,
        copies=any(job.copies for job in jobs),
        counts_frames=any(file.kind == "video" for file in files),
    )


def cut_of(shape: Shape, info: MediaInfo) -> Cut:
    """The part of the audio that goes with the frames that are kept."""
    if shape.sound_start == 0 and shape.last == info.frames:
        return Cut()
    return Cut(shape.sound_start, shape.sound_seconds)


def _job(clip: Clip, output: Output) -> Job | None:
    match output:
        case WebVideo():
            return web_job(clip, output)
        case SocialVideo():
            return social_job(clip, output)
        case ProxyVideo():
            return proxy_job(clip, output)
        case HlsVideo():
            return hls_job(clip, output)
        case Preview():
            return preview_job(clip, output)
        case Poster():
            return poster_job(clip, output)
        case ContactSheet():
            return contact_sheet_job(clip, output)
        case Thumbnails():
            return thumbnails_job(clip, output)
        case AudioFile():
            return audio_job(clip, output)


def _nodes(clip: Clip, jobs: Sequence[Job]) -> list[Any]:
    times = sum(job.pictures for job in jobs)
    pictures = _split(_operated(clip), times) if times else []
    sound = _sound(clip, sum(job.sound for job in jobs))
    return [
        job.make(pictures.pop(0) if job.pictures else None, sound.pop(0) if job.sound else None)
        for job in jobs
    ]


def _operated(clip: Clip) -> Any:
    """The clip's pictures after everything that all outputs have in common, done once."""
    shape, info = clip.shape, clip.info
    pictures = shown(clip.origin, info)
    if shape.trimmed:
        pictures = pictures.filter("trim", start_frame=shape.first, end_frame=shape.last)
        pictures = pictures.filter("setpts", "PTS-STARTPTS")
    if shape.retimed:
        pictures = pictures.filter("fps", str(shape.rate), start_time=0)
        if not info.constant:
            # How many frames the filter makes of the last one depends on how long it is said to be shown.
            held = 2 + math.ceil(shape.last_seconds * shape.rate)
            pictures = pictures.filter("tpad", stop=held, stop_mode="clone")
        pictures = pictures.filter("trim", end_frame=shape.frames)
    if shape.scaled:
        wide, high = covering(info.shown_size, (shape.width, shape.height))
        pictures = pictures.filter("scale", wide, high).filter("crop", shape.width, shape.height)
        pictures = pictures.filter("setsar", 1)
    if shape.tag_colour:
        return in_bt709(pictures, info).filter("setparams", **BT709)
    return pictures if info.pix_fmt == "yuv420p" else pictures.filter("format", "yuv420p")


def _sound(clip: Clip, times: int) -> list[Any]:
    if not times or clip.info.audio is None:
        return []
    cut = cut_of(clip.shape, clip.info)
    audio = prepared(clip.origin, clip.info.audio, start=clip.info.start, cut=cut, level=clip.level)
    return [audio] if times == 1 else _branches(audio.filter_multi_output("asplit", times), times)


def _split(pictures: Any, times: int) -> list[Any]:
    return [pictures] if times == 1 else _branches(pictures.filter_multi_output("split", times), times)


def _branches(node: Any, times: int) -> list[Any]:
    return [node[place] for place in range(times)]
