"""From chosen takes to an archived film: fetched, joined, checked, rendered, and its manifest last.

The film's folder in the archive is named by what it is made of. Where its manifest stands already, the film is given
back and nothing is joined again. What is joined on this machine lies in a folder of this run alone, and is compared
with the film's own title, frames and sound directly before it is archived.
"""

import asyncio
import importlib.metadata
import platform
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from prefect_ltx.archive import ArchiveConflict, ArchivedFile, Manifest
from prefect_ltx.archive.manifest_records import Ancestor
from prefect_ltx.film import (
    FilmLineage,
    FilmManifest,
    JoinedFilm,
    Storyboard,
    check_film,
    film_folder,
    film_key,
    join_clips,
)
from prefect_ltx.film.manifest import FILM_ENDPOINT
from prefect_ltx.flows.film_additions import Additions, fetch_additions
from prefect_ltx.flows.film_clips import fetch_clips, lineage_of
from prefect_ltx.flows.film_result import ArchivedFilm, archived_film
from prefect_ltx.flows.film_subtitles import subtitle_files
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.generation import Services, tell
from prefect_ltx.generation.store import approval_of
from prefect_ltx.generation.work_folders import FILMS, own_folder
from prefect_ltx.media import (
    ContactSheet,
    HlsVideo,
    Poster,
    Preview,
    Recipe,
    Rendition,
    ffmpeg_version,
    render_renditions,
    sha256_file,
)
from prefect_ltx.provenance import mark_rendition
from prefect_ltx.provenance.source_type import comment, source_type
from prefect_ltx.tasks.assets import asset_key, emit_asset

# Where pictures lie on this machine is nobody's business; their content is in the shots' own manifests.
_LOCAL: Any = {
    "cast": True,
    "locations": True,
    "music": {"file"},
    "subtitles": {"font"},
    "shots": {"__all__": {"video", "image", "mid_image", "end_image", "voice"}},
}
PICTURES = Recipe(loudness=None, outputs=(Poster(), ContactSheet(), Preview()))


async def finish_film(
    services: Services,
    board: Storyboard,
    chosen: Sequence[tuple[TakeRow, Take]],
    *,
    recipe: Recipe,
    tags: Sequence[str],
) -> ArchivedFilm:
    """Join the chosen takes and archive the film; the same takes again give the film that is there.

    Raises:
        MediaError: a clip cannot be joined; every shot is archived.
        ArchiveError: the archive cannot be used now; every shot is archived, and running again goes on here.
    """
    with own_folder(services.options.work_dir, FILMS) as scratch:
        async with AsyncExitStack() as stay:
            return await _finished(services, board, chosen, scratch, recipe, tags, stay)


async def _finished(
    services: Services,
    board: Storyboard,
    chosen: Sequence[tuple[TakeRow, Take]],
    scratch: Path,
    recipe: Recipe,
    tags: Sequence[str],
    stay: AsyncExitStack,
) -> ArchivedFilm:
    manifests = [row.manifests[take.number] for row, take in chosen]
    clips, timeline, warnings = await fetch_clips(services, board, chosen, manifests, scratch)
    shots = lineage_of(board, clips, chosen, manifests, timeline)
    added = await fetch_additions(services, board, timeline, scratch, stay)
    warnings += added.warnings
    loudness = film_loudness(board, recipe)
    hls = tuple(each for each in recipe.outputs if isinstance(each, HlsVideo))
    key = film_key(
        board.title,
        str(board.fps),
        loudness,
        shots,
        music=added.music,
        voices=added.voices,
        subtitles=added.subtitles,
        hls=[each.model_dump(mode="json") for each in hls],
    )
    folder = film_folder(board.title, key)
    found = await _archived(services, folder)
    reused = found is not None
    if found is None:
        tell("film", "", f"joining {len(clips)} shots")
        joined = await join_clips(
            clips,
            scratch / "film.mp4",
            fps=board.fps,
            title=board.title,
            comment=comment(source_type(stand_in=any(each.stand_in for each in manifests))),
            loudness=loudness,
            mix=added.mix,
            burn_in=added.cues if board.subtitles.burn_in else (),
            font=added.font,
        )
        warnings += joined.warnings
        lineage = FilmLineage(
            title=board.title,
            fps=str(board.fps),
            frames=joined.timeline.frames,
            duration=str(joined.timeline.duration),
            loudness_target_lufs=loudness,
            loudness_before_lufs=joined.loudness_before,
            shots=shots,
            music=added.music,
            voices=added.voices,
            subtitles=added.subtitles,
        )
        found = await _stored(
            services, board, joined, lineage, manifests, key, folder, scratch, tags, hls, added
        )
        tell("film", "", "archived")
        _materialized(services, found, key)
    return archived_film(services, found, key, chosen, reused=reused, warnings=warnings)


def _materialized(services: Services, film: FilmManifest, key: str) -> None:
    location, video = services.archive.location, film.video
    assert video is not None
    emit_asset(
        asset_key(location, film.folder, video.name),
        name=f"Film: {film.film.title}",
        made_from={asset_key(location, each.folder, "video.mp4"): each.title for each in film.film.shots},
        metadata={
            "title": film.film.title,
            "sha256": video.sha256,
            "size": video.size,
            "frames": film.film.frames,
            "duration": film.film.duration,
            "generations": [each.generation_id for each in film.film.shots],
            "archive": location,
            "folder": film.folder,
        },
        once=key,
    )


def film_loudness(board: Storyboard, recipe: Recipe) -> float | None:
    """The film's target in LUFS: what the storyboard says, else the recipe, else the web's."""
    if "loudness" in board.model_fields_set or recipe.loudness is None:
        return board.loudness
    return recipe.loudness.lufs


async def _archived(services: Services, folder: str) -> FilmManifest | None:
    there = await services.archive.manifest(folder)
    return FilmManifest.from_bytes(there.to_bytes()) if there is not None else None


async def _stored(
    services: Services,
    board: Storyboard,
    joined: JoinedFilm,
    lineage: FilmLineage,
    manifests: Sequence[Manifest],
    key: str,
    folder: str,
    scratch: Path,
    tags: Sequence[str],
    hls: Sequence[HlsVideo],
    added: Additions,
) -> FilmManifest:
    stand_in = any(each.stand_in for each in manifests)
    info = joined.info
    facts = {
        "width": info.width,
        "height": info.height,
        "num_frames": info.frames,
        "fps": info.fps,
        "duration": round(info.duration, 6),
        "audio": info.audio is not None,
    }
    film = Rendition(
        name="video",
        path=joined.path,
        content_type="video/mp4",
        sha256=await asyncio.to_thread(sha256_file, joined.path),
        size=info.size,
        facts=facts,
    )
    made = await render_renditions(
        joined.path,
        scratch / "renditions",
        recipe=PICTURES.model_copy(update={"outputs": (*PICTURES.outputs, *hls)}),
    )
    if added.cues:
        made += subtitle_files(added.cues, joined, made, board.subtitles.language, scratch)
    files = []
    for each in (film, *made):
        final = await mark_rendition(
            each, scratch / "marked", stand_in=stand_in, signer=services.options.signer
        )
        if final.name == "video":
            await check_film(final.path, board.title, joined)
        files.append(await _put(services, folder, final, board.title, joined))
    # As they were given: nothing is marked in what is not ours.
    files += [await _put(services, folder, each, board.title, joined) for each in added.files]
    manifest = FilmManifest(
        generation_key=key,
        endpoint=FILM_ENDPOINT,
        account=manifests[0].account,
        request={
            "storyboard": board.model_dump(mode="json", exclude_defaults=True, exclude=_LOCAL),
        },
        request_id="",
        seed=board.seed,
        prompt_sent=board.title,
        price_expected_usd=Decimal(0),
        files=files,
        delivered=facts,
        tools={
            "prefect-ltx": importlib.metadata.version("prefect-ltx"),
            "python": platform.python_version(),
            "ffmpeg": ffmpeg_version(),
        },
        stand_in=stand_in,
        created_at=datetime.now(UTC),
        folder=folder,
        tags=list(tags),
        approval=await approval_of(services, tags),
        made_of=[
            Ancestor(
                generation_id=shot.generation_id,
                manifest_sha256=shot.manifest_sha256,
                role=f"shot {number}: {shot.shot}",
            )
            for number, shot in enumerate(lineage.shots, 1)
        ],
        film=lineage,
    )
    await services.archive.publish(manifest)
    # Where another run was first, its manifest stands.
    return await _archived(services, folder) or manifest


async def _put(
    services: Services, folder: str, rendition: Rendition, title: str, joined: JoinedFilm
) -> ArchivedFile:
    name = "film.mp4" if rendition.name == "video" else rendition.path.name
    key = f"{folder}/{name}"
    sha256, size = rendition.sha256, rendition.size
    try:
        await services.archive.put_file(
            key, rendition.path, sha256=sha256, content_type=rendition.content_type
        )
    except ArchiveConflict:
        # A run that was killed before its manifest, with another ffmpeg: what it wrote is whole, and it stays.
        stored = await services.archive.fetch(key, rendition.path)
        if rendition.name == "video":
            await check_film(rendition.path, title, joined)
        sha256, size = stored.sha256, stored.size
    return ArchivedFile(
        role=rendition.name,
        name=name,
        sha256=sha256,
        size=size,
        content_type=rendition.content_type,
        facts=rendition.facts,
    )
