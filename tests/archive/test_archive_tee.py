"""From fal into the archive in one pass over the bytes: what is downloaded is stored while it arrives."""

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from archive_parts import Place
from fault_proxy import FaultProxy
from s3_servers import S3Server

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import (
    CollectedVideo,
    Services,
    collect,
    ledger_plan,
    observe,
    prepare,
    store,
    submit_once,
    upload,
    wait_for,
)
from prefect_ltx.ledger import Generation, Owner
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

LOOKS = ("/media/magic.py", "/media/header.py")
"""They read a file's first bytes and its index, to see what it is."""


class Opened:
    """Every file that Python code opens to read while this is on, but for a look at what kind it is."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.on = False
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event != "open" or not isinstance(arguments[0], str | Path):
            return
        if "r" in (arguments[1] or "r") and not self._is_a_look():
            self.paths.append(str(arguments[0]))

    def _is_a_look(self) -> bool:
        frame: FrameType | None = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.endswith(LOOKS):
            frame = frame.f_back
        return frame is not None

    def videos(self) -> list[str]:
        return [path for path in self.paths if "video.mp4" in path]


opened = Opened()


@pytest.fixture
async def services(ltx_env: Path) -> AsyncIterator[Services]:
    async with Services.from_settings(Settings()) as found:
        yield found


@pytest.fixture
async def completed(services: Services, media_folder: Path) -> Generation:
    request = IngredientRequest.model_validate(
        {
            "prompt": "Reference sheet: a cup. Generated video: it turns.",
            "image_url": str(media_folder / "sheet.png"),
            "num_frames": 9,
            "resolution": {"width": 256, "height": 128},
            "video_write_mode": "fast",
            "seed": 7,
        }
    )
    owner = Owner.here()
    plan, settled, inputs = await prepare(services, request, owner=owner)
    urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
    ticket = ledger_plan(plan, settled.with_media(urls).body(), flow_run_id=None, tags=())
    return await wait_for(services, await submit_once(services, ticket, owner))


async def delivered(services: Services, generation: Generation) -> CollectedVideo:
    video = await collect(services, generation)
    await store(services, generation, video)
    return video


async def test_a_video_is_archived_without_reading_it_again(
    services: Services, completed: Generation, place: Place
) -> None:
    """Between the first byte from fal and the manifest no code here opens the video's file to read it."""
    opened.paths, opened.on = [], True
    try:
        video = await delivered(replace(services, archive=place.archive), completed)
        assert opened.videos() == []
        video.path.parent.mkdir()
        video.path.write_bytes(b"")
        video.path.read_bytes()
        assert opened.videos() == [str(video.path)]  # it would have been heard
    finally:
        opened.on = False
    assert video.stored in [place.archive.url(key) for key in await place.archive.list()]
    report = await place.archive.verify()
    assert (report.ok, report.generations, report.unlisted) == (True, 1, [])
    assert place.unfinished() == 0


async def test_nothing_appears_in_the_archive_before_it_is_verified(
    services: Services, completed: Generation, fal: LocalFal
) -> None:
    """While it downloads there is a temporary file at most; damaged downloads leave none of their bytes."""
    fal.faults.add("truncated_download")
    fal.faults.add("corrupted_download")
    seen: list[str] = []

    def look(_: object) -> None:
        seen.extend(path.name for path in Path(services.archive.location).rglob("*.mp4"))

    with observe(look):
        video = await collect(services, completed)
    assert seen == []
    assert video.stored
    await store(services, completed, video)
    report = await services.archive.verify()
    assert (report.ok, report.unlisted) == (True, [])


async def test_an_archive_that_fails_meanwhile_costs_no_video(
    services: Services, completed: Generation, moto: S3Server
) -> None:
    """The download goes on and is kept; the same file is archived once the archive works again."""
    with FaultProxy(moto.port) as proxy:
        archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
        services = replace(services, archive=archive)
        proxy.fault(r"^PUT ", "slow_down", times=4)
        video = await collect(services, completed)
        assert video.stored == ""
        assert video.path.is_file()
        await store(services, completed, video)
        report = await archive.verify()
    assert (report.ok, report.generations) == (True, 1)


async def test_a_video_that_was_stored_before_a_crash_is_found_there(
    services: Services, completed: Generation, place: Place
) -> None:
    """A run that starts anew has the file here and its copy in the archive; only the manifest is missing."""
    services = replace(services, archive=place.archive)
    first = await collect(services, completed)
    assert len(await place.archive.list()) == 1
    again = await delivered(services, await services.ledger.get(completed.id))
    assert (bool(first.stored), again.stored) == (True, "")
    report = await place.archive.verify()
    assert (report.ok, report.files, report.unlisted) == (True, 1, [])
