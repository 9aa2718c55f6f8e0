"""A batch and a film with the ledger in PostgreSQL and the archive in a bucket, as several machines share them."""

import csv
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support import environment

from prefect_ltx.archive import Archive, reproduce
from prefect_ltx.fal import FalRequestInvalid
from prefect_ltx.flows import generate_batch, storyboard_film
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
    pytest.mark.timeout(600),
]


@pytest.fixture
def shared(
    fal: LocalFal, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The settings of a machine whose ledger is in PostgreSQL and whose archive is in a bucket of moto's."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    settings = environment(fal.url, tmp_path) | keys
    bucket = f"videos-{uuid.uuid4().hex}"  # moto's servers of one process share what they hold
    settings |= {"PREFECT_LTX_LEDGER": postgres_url, "PREFECT_LTX_ARCHIVE": f"s3://{bucket}/made"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket=bucket)
    yield settings
    server.stop()


async def test_batch_with_a_shared_ledger_and_a_bucket(
    fal: LocalFal, shared: dict[str, str], media_folder: Path
) -> None:
    """Every row is in the bucket with its manifest, and running it again reuses all and sends nothing."""
    base: dict[str, Any] = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
    }
    rows = [base | {"seed": seed} for seed in range(4)] + [base]
    bucket = shared["PREFECT_LTX_ARCHIVE"].removeprefix("s3://").partition("/")[0]
    how: dict[str, Any] = {"name": "shared", "recipe": "none", "report": f"s3://{bucket}/reports/ends.csv"}
    report = await generate_batch(rows, concurrency=2, **how)
    assert (report.counts, len(fal.bill)) == ({"archived": 5}, 5)
    assert all(str(each.video).startswith(shared["PREFECT_LTX_ARCHIVE"]) for each in report.rows)
    again = await generate_batch(rows, concurrency=2, task_run_per_row_up_to=0, **how)
    assert (again.counts, len(fal.bill)) == ({"reused": 5}, 5)
    with Ledger(shared["PREFECT_LTX_LEDGER"]) as ledger:
        assert [each.state for each in ledger.find(tag="batch:shared")] == [State.ARCHIVED] * 5
    async with Archive(shared["PREFECT_LTX_ARCHIVE"]) as archive:
        found = await archive.verify()
        assert (found.ok, found.generations) == (True, 5)
        table = (await archive.elsewhere(f"s3://{bucket}/reports").read_bytes("ends.csv")).decode("utf-8-sig")
    assert [each["status"] for each in csv.DictReader(table.splitlines())] == ["reused"] * 5


async def test_film_in_a_bucket_is_shown_and_says_how_it_is_made_again(
    fal: LocalFal, shared: dict[str, str], media_folder: Path
) -> None:
    """The film and its shots are in the bucket, in the gallery, and found again; `reproduce` names its shots."""
    board = {
        "title": "The cup",
        "resolution": {"width": 256, "height": 128},
        "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}},
        "cast": {"cup": {"look": "a white cup", "images": [str(media_folder / "sheet.png")]}},
        "shots": [{"id": "one", "text": "the cup turns"}, {"id": "two", "text": "the cup falls"}],
    }
    film = await storyboard_film(board, recipe="none")
    assert (film.frames, film.paid_now, len(fal.bill)) == (18, 2, 2)
    again = await storyboard_film(board, recipe="none")
    assert (again.reused, again.paid_now, again.manifest_sha256) == (True, 0, film.manifest_sha256)
    async with Archive(shared["PREFECT_LTX_ARCHIVE"]) as archive:
        found = await archive.verify()
        assert (found.ok, found.generations) == (True, 3)
        assert (await archive.gallery()).startswith(shared["PREFECT_LTX_ARCHIVE"])
        page = (await archive.read_bytes("index.html")).decode()
        for folder in (film.folder, *(shot.folder for shot in film.shots)):
            assert f"{folder}/manifest.json" in page
        made = await archive.manifest(film.folder)
        assert made is not None
        with pytest.raises(FalRequestInvalid, match=film.shots[1].generation_id):
            reproduce(made)
        shot = await archive.manifest(film.shots[0].folder)
        assert shot is not None
        assert reproduce(shot).seed == film.shots[0].seed
