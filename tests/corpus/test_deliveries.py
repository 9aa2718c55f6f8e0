"""Odd clips that fal delivers are collected, archived and verified as what they are."""

import shutil
import threading
from pathlib import Path

import pytest
from clips import CLIPS
from generation_parts import cup_request, submitted
from support import environment

from prefect_ltx.generation import Services, collect, store, wait_for
from prefect_ltx.local import LocalFal
from prefect_ltx.local.renderer import RenderJob, Report
from prefect_ltx.settings import Settings

DELIVERED = [clip for clip in CLIPS if clip.name.endswith(".mp4")]


class Deliveries:
    """A renderer that gives the clip whose number is the seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        made = job.folder / "clip.mp4"
        shutil.copy(self.folder / DELIVERED[job.seed].name, made)
        return made


async def test_odd_deliveries_are_archived_as_what_they_are(
    corpus: Path, media_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is called damaged, each is known with the frames that are shown, and the archive finds no contradiction."""
    with LocalFal(renderer=Deliveries(corpus)) as fal:
        for name, value in environment(fal.url, tmp_path).items():
            monkeypatch.setenv(name, value)
        async with Services.from_settings(Settings()) as services:
            for seed, clip in enumerate(DELIVERED):
                request = cup_request(media_folder / "sheet.png", seed=seed)
                generation = await wait_for(services, await submitted(services, request))
                video = await collect(services, generation)
                assert not any("decode" in each for each in video.differences), (clip.name, video.differences)
                assert clip.frames in (None, video.delivered["num_frames"]), clip.name
                await store(services, await services.ledger.get(generation.id), video, [])
            report = await services.archive.verify()
    assert report.generations == len(DELIVERED)
    assert report.ok, report
