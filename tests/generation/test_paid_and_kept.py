"""What fails after the payment says so: paid, where the video is now, and that running again pays nothing more."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from generation_parts import submitted
from support import submits
from typer.testing import CliRunner

from prefect_ltx.archive import ArchiveError, ArchiveUnavailable
from prefect_ltx.cli import app
from prefect_ltx.fal import FalDownloadError, IngredientRequest
from prefect_ltx.generation import (
    PaidVideoWaits,
    Services,
    archived_before,
    collect,
    outcome,
    store,
    wait_for,
)
from prefect_ltx.generation.collect import video_key
from prefect_ltx.ledger import Generation, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

Make = Callable[..., IngredientRequest]


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of its own at `folder` that is filled but for some kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        filler = folder / ".filler"
        filler.write_bytes(bytes(2 * 1024 * 1024 - kilobytes * 1024))
        yield filler
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def finished(services: Services, make_request: Make) -> Generation:
    """A generation that is paid for and done at fal."""
    generation = await submitted(services, make_request())
    generation = await wait_for(services, generation)
    return outcome(generation)


def tells_the_truth(line: str, generation: Generation, *place: str) -> None:
    """Paid, where it is, what next; one line, and nowhere that nothing was spent."""
    assert "othing was" not in line
    assert f"Generation {generation.id} is paid for" in line
    assert "$" in line
    assert any(each in line for each in place), line
    assert "run it again or `prefect-ltx sweep`" in line
    assert "pays nothing more" in line
    assert "\n" not in line


async def test_a_full_archive(services: Services, fal: LocalFal, ltx_env: Path, make_request: Make) -> None:
    """An archive that is full after the payment: the video is kept in the work folder, and goes on from there."""
    with small_disk(ltx_env / "archive", kilobytes=4) as filler:
        generation = await finished(services, make_request)
        video = await collect(services, generation)
        with pytest.raises(ArchiveUnavailable) as failed:
            await store(services, generation, video)
        tells_the_truth(str(failed.value), generation, f"kept in {video.path}")
        assert "No space left" in str(failed.value)
        assert (await services.ledger.get(generation.id)).state is State.COLLECTED
        filler.unlink()
        await store(services, generation, await collect(services, outcome(generation)))
    assert submits(fal) == len(fal.bill) == 1


async def test_a_manifest_that_cannot_be_written(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """The video is in the archive and its manifest cannot be: paid, kept, and no word of nothing spent."""
    generation = await finished(services, make_request)
    video = await collect(services, generation)
    in_the_way = ltx_env / "archive" / Path(video_key(generation)).with_name("manifest.json")
    in_the_way.mkdir(parents=True)
    with pytest.raises(ArchiveError) as failed:
        await store(services, generation, video)
    tells_the_truth(str(failed.value), generation, f"kept in {video.path}")
    in_the_way.rmdir()
    await store(services, generation, video)
    assert len(fal.bill) == 1


async def test_a_full_work_folder(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """A disk that is full while the video is downloaded: it stays at fal, which is said, and is fetched again."""
    generation = await finished(services, make_request)
    with small_disk(ltx_env / "home" / "work" / generation.id, kilobytes=4) as filler:
        with pytest.raises(FalDownloadError) as failed:
            await collect(services, generation)
        tells_the_truth(str(failed.value), generation, "still at fal")
        assert "No space left" in str(failed.value)
        filler.unlink()
        await collect(services, generation)
    assert len(fal.bill) == 1


async def test_a_work_folder_that_cannot_be_made(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """Something that lies where the generation's folder belongs is named, and so is the video that waits."""
    generation = await finished(services, make_request)
    work = ltx_env / "home" / "work" / generation.id
    work.write_text("in the way")
    with pytest.raises(PaidVideoWaits) as failed:
        await collect(services, generation)
    tells_the_truth(str(failed.value), generation, "still at fal")
    assert str(work) in str(failed.value)


class _Denying(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = (
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        )
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def denying() -> Iterator[str]:
    """An S3 server that denies everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Denying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_bucket_that_denies(
    fal: LocalFal, ltx_env: Path, denying: str, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep of a generation whose bucket denies it says paid and where it waits, for this one, and goes on."""
    import asyncio

    async def paid() -> Generation:
        async with Services.from_settings(Settings()) as services:
            return await finished(services, make_request)

    generation = asyncio.run(paid())
    for name, value in (
        ("PREFECT_LTX_ARCHIVE", "s3://films/x"),
        ("AWS_ENDPOINT_URL_S3", denying),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["sweep", "--recipe", "none", "--json"])
    assert done.exit_code == 1
    (item,) = json.loads(done.stdout)["items"]
    work = str(ltx_env / "home" / "work" / generation.id / "video.mp4")
    tells_the_truth(item["note"], generation, f"kept in {work}")
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(ltx_env / "archive"))
    assert CliRunner().invoke(app, ["sweep", "--recipe", "none"]).exit_code == 0
    assert len(list((ltx_env / "archive").rglob("video.mp4"))) == len(fal.bill) == 1


async def test_a_video_that_was_taken_out_of_the_archive(
    services: Services, fal: LocalFal, ltx_env: Path, make_request: Make
) -> None:
    """A manifest without its video is no video: said where it is given out again, and nothing is bought for it."""
    generation = await finished(services, make_request)
    await store(services, generation, await collect(services, generation))
    row = await services.ledger.get(generation.id)
    await archived_before(services, row)
    (ltx_env / "archive" / video_key(generation)).unlink()
    with pytest.raises(ArchiveError, match="is paid for and was archived, and its video is no longer at"):
        await archived_before(services, row)
    assert len(fal.bill) == 1


def test_errors_keep_their_words_between_processes() -> None:
    """Prefect pickles errors: what an error says of the money is still said on the other side."""
    import pickle

    error = ArchiveUnavailable("The disk is full").after(bill="Paid", next_step="Run again")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "The disk is full. Paid. Run again."
