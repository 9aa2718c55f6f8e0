"""The paid video as verified bytes on this machine."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prefect_ltx.archive import folder_for
from prefect_ltx.fal import Downloaded, FalDownloadError, FalError
from prefect_ltx.generation.asking import next_word_after, question_about, read_result, say_gone
from prefect_ltx.generation.errors import GenerationStopped, lost
from prefect_ltx.generation.paid import told_as_paid
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.tee import Tee
from prefect_ltx.generation.wait import outcome
from prefect_ltx.ledger import Collected, Generation, State
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
        PaidVideoLost: fal said twice, minutes apart, that it no longer serves the video.
        FalDownloadError, FalUnavailable: the network, a gateway, this machine's disk, or a file that is not the video:
            what the message says. Nothing is given up; the next run asks fal for the result again and fetches it.
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
    collected = await services.ledger.record_and_get(
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
        odd = {"oddities": list(download.oddities)} if download.oddities else {}
        try:
            info = await verify_video(path)
        except MediaError as error:
            if download.sha256 in broken:
                return download, {"problem": str(error), **odd}
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
            **odd,
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

    generation = await _located(services, generation)
    for last in (False, True):
        try:
            download = await services.client.download(
                generation.video_url or "",
                path,
                on_progress=half_way,
                expected_size=generation.file_size,
                copy=tee,
            )
            return generation, download
        except FalDownloadError as error:
            if error.gone:
                generation = await _after_gone(services, generation, error, last=last)
            elif last or isinstance(error.__cause__, OSError):
                raise
            else:
                generation = await _named_otherwise(services, generation, error)
    raise _no_video(generation)


async def _located(services: Services, generation: Generation) -> Generation:
    """The generation with its video's URL, asked for again where the row has none."""
    if generation.video_url is None:
        found = await read_result(services, generation)
        if found is None or outcome(found).video_url is None:
            raise _no_video(generation)
        return found
    return generation


async def _after_gone(
    services: Services, generation: Generation, error: FalDownloadError, *, last: bool
) -> Generation:
    """The file's server says that it is gone, which alone proves nothing: the result route, asked by id, may name
    another URL. Where it names the same one, fal is given minutes to serve it, and asked again.

    Raises:
        PaidVideoLost: fal, asked minutes apart, said both times where the file is, and both times it was gone.
        FalDownloadError: not fal itself said that it is gone.
    """
    question = question_about(services, generation)
    found = await read_result(services, generation)
    fresh = outcome(found) if found is not None else generation
    if fresh.state is not State.COMPLETED and fresh.sha256 is None:
        raise FalDownloadError(
            f"{error.what}, and fal says that the request is {fresh.state}",
            next_step="run again: fal is asked for the result again",
        ) from error
    if fresh.video_url != generation.video_url:
        return fresh
    if fresh.sha256 is None and error.heard is not None and error.heard.by == "fal":
        fresh = await say_gone(services, question, "file", error)
        if fresh.state is State.LOST:
            raise lost(fresh) from error
    if last:
        raise FalDownloadError(
            f"{error.what}, while fal's result still names that file",
            next_step="run again later: fal is asked for the result again, and nothing is bought again",
        ) from error
    await asyncio.sleep(next_word_after(services))
    return fresh


async def _named_otherwise(services: Services, generation: Generation, error: FalDownloadError) -> Generation:
    """The generation with another URL than the one that cannot be fetched, where fal, asked by id, names one: a
    webhook's, or one that was cut, may not be what the result says.

    Raises:
        FalDownloadError: fal names the same file.
    """
    found = None
    with suppress(FalError):
        found = await read_result(services, generation)
    if found is None or found.video_url in (None, generation.video_url):
        raise error
    return outcome(found)


def _no_video(generation: Generation) -> GenerationStopped:
    return GenerationStopped(
        f"Generation {generation.id} is {generation.state} and fal, asked again, names no video yet. It is paid for "
        "once: run the same request again, or `prefect-ltx sweep`.",
        generation,
    )


def _collected(generation: Generation, path: Path, stored: str = "") -> CollectedVideo:
    if generation.sha256 is None or generation.size is None:
        raise _no_video(generation)  # no release of ours writes such a row
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
    odd = [f"fal's answer: {each}" for each in generation.oddities]
    odd += [str(each) for each in delivered.get("oddities", [])]
    if "problem" in delivered:
        return [f"it does not decode: {delivered['problem']}", *odd]
    asked = generation.asked
    different = [
        f"{name} {delivered.get(name)} instead of {asked[name]}"
        for name in ("width", "height", "num_frames", "audio")
        if name in asked and delivered.get(name) != asked[name]
    ]
    return different + odd
