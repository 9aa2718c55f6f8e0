"""The paid video as verified bytes on this machine."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prefect_ltx.archive import folder_for
from prefect_ltx.fal import Downloaded, FalDownloadError
from prefect_ltx.generation.errors import lost
from prefect_ltx.generation.paid import told_as_paid
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services, in_thread
from prefect_ltx.generation.tee import Tee
from prefect_ltx.generation.wait import find_again, outcome
from prefect_ltx.ledger import Collected, Generation, ResultGone
from prefect_ltx.media import MediaError, sha256_file, verify_video

DOWNLOAD_TRIES = 3


class CollectedVideo(BaseModel):
    """A downloaded video: its file, sha256, and what was delivered beside what was asked."""

    generation_id: str
    path: Path
    sha256: str
    size: int
    delivered: dict[str, Any]
    """codec, width, height, num_frames, fps, duration, audio; `problem` where it does not decode."""
    differences: list[str]
    """In which ways the delivery is not what was asked; fal snaps sizes and frame counts."""
    stored: str = ""
    """Where in the archive it was stored while it was downloaded; empty where that is still to be done."""


async def collect(services: Services, generation: Generation) -> CollectedVideo:
    """Download and verify the video of a completed generation; what is here already is not fetched again.

    A download that does not decode is fetched again; where fal serves the same broken bytes every time they
    are kept all the same, with the problem said in `delivered`: they were paid for.

    The bytes go into the archive in the same pass. They appear there only after they were verified and the
    ledger knows of them; where the archive fails, `store` writes them later from the file.

    Raises:
        PaidVideoLost: fal no longer serves the video.
        FalDownloadError, FalUnavailable: the network or this machine's disk; the video stays at fal, and the next run
            fetches it.
        PaidVideoWaits: the work folder cannot be used; the same.
    """
    async with told_as_paid(services, generation):
        path = services.work_dir(generation.id) / "video.mp4"
        if await _is_here(generation, path):
            return _collected(generation, path)
        async with Tee(services.archive, video_key(generation), generation.id) as tee:
            return await _collect(services, generation, path, tee)


def video_key(generation: Generation) -> str:
    """The place of the delivered video in the archive."""
    return f"{folder_for(generation.id, generation.endpoint, generation.created_at)}/video.mp4"


async def _collect(services: Services, generation: Generation, path: Path, tee: Tee) -> CollectedVideo:
    download, delivered = await _fetch_and_check(services, generation, path, tee)
    if generation.sha256 is not None and download.sha256 != generation.sha256:
        raise FalDownloadError(
            f"fal serves other bytes for generation {generation.id} than were collected before "
            f"(sha256 {download.sha256[:12]}, not {generation.sha256[:12]})",
            next_step="keep both files and ask fal; nothing in the archive was changed",
        )
    collected = await in_thread(
        services.ledger.record_and_get,
        generation.id,
        Collected(sha256=download.sha256, size=download.size, path=str(path), facts=delivered),
    )
    tell("after-download", generation.id, "downloaded and verified")
    return _collected(collected, path, await tee.publish(download))


def clean_up(services: Services, generation_id: str) -> None:
    """Remove a generation's unfinished files, once they are in the archive or closed without a video."""
    shutil.rmtree(services.options.work_dir / generation_id, ignore_errors=True)


async def _is_here(generation: Generation, path: Path) -> bool:
    if generation.sha256 is None or not path.is_file() or path.stat().st_size != generation.size:
        return False
    return await asyncio.to_thread(sha256_file, path) == generation.sha256


async def _fetch_and_check(
    services: Services, generation: Generation, path: Path, tee: Tee
) -> tuple[Downloaded, dict[str, Any]]:
    broken: set[str] = set()
    for _ in range(DOWNLOAD_TRIES):
        generation, download = await _fetch(services, generation, path, tee)
        try:
            info = await verify_video(path)
        except MediaError as error:
            if download.sha256 in broken:
                return download, {"problem": str(error)}
            broken.add(download.sha256)
            continue
        return download, {
            "codec": info.codec,
            "width": info.width,
            "height": info.height,
            "num_frames": info.frames,
            "fps": info.fps,
            "duration": info.duration,
            "audio": info.audio is not None,
        }
    raise FalDownloadError(
        f"the video of generation {generation.id} arrived damaged {DOWNLOAD_TRIES} times, each time differently",
        next_step="run again; the video is still at fal",
    )


async def _fetch(
    services: Services, generation: Generation, path: Path, tee: Tee
) -> tuple[Generation, Downloaded]:
    def half_way(done: int, total: int | None) -> None:
        tell("download", generation.id, "downloading", done / total if total else None)
        if total and 2 * done >= total:
            tell("half-downloaded", generation.id)

    assert generation.video_url is not None
    try:
        return generation, await services.client.download(
            generation.video_url,
            path,
            on_progress=half_way,
            expected_size=generation.file_size,
            copy=tee,
        )
    except FalDownloadError as error:
        if not error.gone:
            raise
        # The file's URL has expired: fal may still name another one for the same request.
        before = generation.video_url
        generation = outcome(await find_again(services, generation, error))
        if generation.video_url == before:
            gone = ResultGone(error.what)
            raise lost(await in_thread(services.ledger.record_and_get, generation.id, gone)) from error
        assert generation.video_url is not None
        return generation, await services.client.download(
            generation.video_url, path, expected_size=generation.file_size, copy=tee
        )


def _collected(generation: Generation, path: Path, stored: str = "") -> CollectedVideo:
    assert generation.sha256 is not None
    assert generation.size is not None
    delivered = dict(generation.facts)
    return CollectedVideo(
        generation_id=generation.id,
        path=path,
        sha256=generation.sha256,
        size=generation.size,
        delivered=delivered,
        differences=_differences(generation, delivered),
        stored=stored,
    )


def _differences(generation: Generation, delivered: dict[str, Any]) -> list[str]:
    if "problem" in delivered:
        return [f"it does not decode: {delivered['problem']}"]
    asked = generation.asked
    return [
        f"{name} {delivered[name]} instead of {asked[name]}"
        for name in ("width", "height", "num_frames", "audio")
        if name in asked and delivered.get(name) != asked[name]
    ]
