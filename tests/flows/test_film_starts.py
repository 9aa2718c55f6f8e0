"""The picture that a shot starts from lies in the archive: every machine and every ffmpeg sends the same bytes."""

import asyncio
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image
from s3_servers import S3Server

from prefect_ltx.archive import ArchivedFile, Manifest
from prefect_ltx.flows.film_starts import start_picture
from prefect_ltx.generation import Services
from prefect_ltx.settings import Settings

FOLDER = "2026/11/26/reference-video-to-video-0123456789abcdef"


async def archived(services: Services, clip: Path) -> Manifest:
    """A clip in the archive, as a finished generation leaves it."""
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    video = ArchivedFile(
        role="video",
        name="video.mp4",
        sha256=digest,
        size=clip.stat().st_size,
        content_type="video/mp4",
    )
    manifest = Manifest(
        generation_key="0123456789abcdef" * 4,
        endpoint="fal-ai/ltx-2.3-quality/reference-video-to-video",
        account="fedcba9876543210",
        request={"prompt": "A boat", "num_frames": 25},
        request_id="11111111-2222-3333-4444-555555555555",
        seed=42,
        prompt_sent="A boat",
        price_expected_usd=Decimal("0.4"),
        files=[video],
        created_at=datetime(2026, 11, 26, tzinfo=UTC),
        folder=FOLDER,
    )
    key = f"{FOLDER}/video.mp4"
    await services.archive.put_file(key, clip, sha256=digest, content_type="video/mp4")
    await services.archive.publish(manifest)
    return manifest


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(ltx_env / "archive")
    server: S3Server = request.getfixturevalue("moto")
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    location = f"s3://{server.new_bucket()}/made"
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", location)
    return location


async def test_the_first_picture_stands(
    place: str, media_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs at the same time meet in one picture; another machine takes it; a plan writes nothing."""
    async with Services.from_settings(Settings()) as services:
        manifest = await archived(services, media_folder / "clip.mp4")
        assert manifest.video is not None
        key = f"frames/{manifest.video.sha256[:32]}-last.png"
        planned = await start_picture(services, manifest, keep=False)
        assert not await services.archive.exists(key)
        both = await asyncio.gather(*(start_picture(services, manifest, keep=True) for _ in range(3)))
        assert {path.read_bytes() for path in both} == {planned.read_bytes()}
        assert await services.archive.exists(key)
        with Image.open(planned) as picture:
            assert picture.size == (256, 144)

    # Another machine, whose ffmpeg makes other bytes of the same frame: what is there counts.
    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path / "another"))
    async with Services.from_settings(Settings()) as services:
        found = await start_picture(services, manifest, keep=True)
        assert found.read_bytes() == planned.read_bytes()
        assert found.is_relative_to(tmp_path / "another")
        assert (await services.archive.verify()).ok
