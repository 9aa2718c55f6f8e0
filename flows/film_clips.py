"""The chosen takes as clips: fetched, the sheet's frames left out, laid on the film's timeline."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prefect_ltx.archive import Manifest
from prefect_ltx.film import Clip, ShotLineage, Storyboard, Timeline, fitting_overlaps, frames_at, skip_at
from prefect_ltx.flows.take import local_video
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.generation import Services
from prefect_ltx.media import probe

FEWEST_FRAMES = 9
"""A shot of which less would be left keeps the frames that show its sheet."""


async def fetch_clips(
    services: Services,
    board: Storyboard,
    chosen: Sequence[tuple[TakeRow, Take]],
    manifests: Sequence[Manifest],
    scratch: Path,
) -> tuple[list[Clip], Timeline, list[str]]:
    """The chosen takes as clips on this machine, their timeline in delivered frames, and what to tell of them.

    Frames that show the sheet are left out, and cross-fades that no longer fit are shortened.

    Raises:
        ArchiveError: a clip cannot be read, or is not what its manifest says.
        FilmInvalid: a clip has less than two frames.
    """
    paths = await asyncio.gather(
        *(
            local_video(services, manifest, scratch / f"{index:03d}.mp4")
            for index, manifest in enumerate(manifests)
        )
    )
    warnings: list[str] = []
    skips, frames = [], []
    for shot, path, (_, take) in zip(board.shots, paths, chosen, strict=True):
        info = await asyncio.to_thread(probe, path)
        there = frames_at(board.fps, info)
        skip = await asyncio.to_thread(skip_at, board.fps, info, path, take.skip_frames)
        if there - skip < FEWEST_FRAMES:
            skip = 0
        if skip:
            warnings.append(
                f"shot {shot.id}: its first {skip} frames show the reference sheet and are left out"
            )
        skips.append(skip)
        frames.append(there - skip)
    asked = [board.overlap_of(index) for index in range(len(board.shots))]
    overlaps = fitting_overlaps(frames, asked)
    warnings += [
        f"shot {shot.id}: its cross-fade has {fits} frames instead of {wanted}, the clips are too short for more"
        for shot, fits, wanted in zip(board.shots, overlaps, asked, strict=True)
        if fits != wanted
    ]
    clips = [
        Clip(path=path, shot=shot.id, title=shot.title or shot.id, overlap=overlap, skip=skip)
        for shot, path, overlap, skip in zip(board.shots, paths, overlaps, skips, strict=True)
    ]
    timeline = Timeline.of(
        board.fps, [(clip.shot, own, clip.overlap) for clip, own in zip(clips, frames, strict=True)]
    )
    return clips, timeline, warnings


def lineage_of(
    board: Storyboard,
    clips: Sequence[Clip],
    chosen: Sequence[tuple[TakeRow, Take]],
    manifests: Sequence[Manifest],
    timeline: Timeline,
) -> list[ShotLineage]:
    """Which generation each shot came from, and where it stands in the film."""
    found = []
    for shot, clip, (_, take), manifest, span in zip(
        board.shots, clips, chosen, manifests, timeline.spans, strict=True
    ):
        assert manifest.video is not None
        starts = {each.field: each.sha256 for each in manifest.inputs} if shot.start_from else {}
        found.append(
            ShotLineage(
                shot=clip.shot,
                title=clip.title,
                endpoint=manifest.endpoint,
                seed=manifest.seed,
                generation_id=take.generation.generation_id,
                generation_key=manifest.generation_key,
                folder=manifest.folder,
                manifest_sha256=manifest.sha256,
                video_sha256=manifest.video.sha256,
                start_frame=span.start,
                frames=span.frames,
                overlap=span.overlap,
                skipped_frames=clip.skip,
                start_from=shot.start_from,
                start_picture_sha256=starts.get("image_url"),
            )
        )
    return found
