"""Media made once by ffmpeg's generators, and embedded servers to test against."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import pytest
from local_fal_helpers import Caller, Receiver

from prefect_ltx.local import LocalFal
from prefect_ltx.media import generator, run_ffmpeg, target


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine moving frames of 320x180."""
    path = tmp_path_factory.mktemp("media") / "reference.mp4"
    picture = generator("testsrc2=s=320x180:r=24:d=0.375").video
    asyncio.run(run_ffmpeg(target(picture, path=path, pix_fmt="yuv420p", preset="ultrafast")))
    return path


@pytest.fixture(scope="session")
def sheet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four plain panels (red, green over blue, white) between black gutters, 480x280."""
    path = tmp_path_factory.mktemp("media") / "sheet.png"
    panels = [generator(f"color={name}:s=220x120:r=1:d=1").video for name in ("red", "lime", "blue", "white")]
    padded = [panel.filter("pad", 240, 140, 10, 10, "black") for panel in panels]
    sheet = ffmpeg.filter(padded, "xstack", inputs=4, layout="0_0|w0_0|0_h0|w0_h0")
    asyncio.run(run_ffmpeg(target(sheet, path=path)))
    return path


@pytest.fixture(scope="session")
def clip_url(clip_file: Path) -> str:
    """The reference clip as a data URI."""
    return "data:video/mp4;base64," + base64.b64encode(clip_file.read_bytes()).decode()


@pytest.fixture(scope="session")
def sheet_url(sheet_file: Path) -> str:
    """The sheet as a data URI."""
    return "data:image/png;base64," + base64.b64encode(sheet_file.read_bytes()).decode()


@pytest.fixture
def video_body(clip_url: str) -> dict[str, object]:
    """A small reference-video-to-video request."""
    return {
        "prompt": "a dancer",
        "video_url": clip_url,
        "num_frames": 9,
        "resolution": {"width": 256, "height": 144},
        "video_write_mode": "fast",
        "seed": 7,
    }


@pytest.fixture
def sheet_body(sheet_url: str) -> dict[str, object]:
    """A small ingredient request."""
    return {
        "prompt": "Reference sheet: four colours. Generated video: they pass.",
        "image_url": sheet_url,
        "num_frames": 9,
        "resolution": {"width": 256, "height": 144},
        "video_write_mode": "fast",
        "seed": 7,
    }


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """An embedded server that answers every request with one stored clip."""
    with LocalFal(renderer="stored-clip") as running:
        yield running


@pytest.fixture
def caller(fal: LocalFal) -> Iterator[Caller]:
    """An HTTP client of that server."""
    with Caller(fal.url) as calling:
        yield calling


@pytest.fixture
def rendering() -> Iterator[Caller]:
    """An HTTP client of an embedded server that renders with ffmpeg."""
    with LocalFal() as running, Caller(running.url) as calling:
        calling.fal = running
        yield calling


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes webhooks."""
    running = Receiver()
    yield running
    running.server.shutdown()
    running.server.server_close()
