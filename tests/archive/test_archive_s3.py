"""S3 when the network and the server do what they do: lost answers, 503, resets, wrong credentials."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_parts import noise, sha, written
from fault_proxy import FaultProxy
from s3_servers import SECRET, S3Server

from prefect_ltx.archive import (
    Archive,
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveDenied,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ArchiveUnavailable,
)

LARGE = 21 << 20
KEY = "a/video.mp4"


@pytest.fixture
def proxy(moto: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def archive(moto: S3Server, proxy: FaultProxy) -> Archive:
    return moto.archive(moto.new_bucket(), endpoint_url=proxy.url)


async def put(archive: Archive, path: Path, data: bytes) -> bool:
    stored = await archive.put_file(KEY, written(path, data), sha256=sha(data), content_type="video/mp4")
    return stored.existed


@pytest.mark.parametrize("fault", ["lost_answer", "reset", "slow_down"])
@pytest.mark.parametrize(
    ("size", "request_line"),
    [
        (1000, r"^PUT .*/video\.mp4"),
        (LARGE, r"^POST .*\?uploads"),
        (LARGE, r"^PUT .*partNumber=2"),
        (LARGE, r"^POST .*\?uploadId="),
        (1000, r"^HEAD "),
    ],
    ids=["put", "begin", "part", "complete", "head"],
)
async def test_a_passing_fault_is_healed(
    archive: Archive, proxy: FaultProxy, tmp_path: Path, size: int, request_line: str, fault: str
) -> None:
    """Whichever request it hits, also when the server had done its work and only the answer was lost."""
    proxy.fault(request_line, fault)  # type: ignore[arg-type]
    data = noise(size)
    await put(archive, tmp_path / "in", data)
    assert proxy.seen(request_line) >= 2
    assert sha(await archive.read_bytes(KEY)) == sha(data)


async def test_a_lost_answer_does_not_hide_a_conflict(
    archive: Archive, proxy: FaultProxy, tmp_path: Path
) -> None:
    """What looks like our own write whose answer was lost is compared, not believed."""
    await put(archive, tmp_path / "in", b"first")
    proxy.fault(r"^HEAD ", "lost_answer")
    with pytest.raises(ArchiveConflict):
        await put(archive, tmp_path / "in", b"other")


async def test_a_lasting_fault_ends_soon_and_says_what_to_do(
    archive: Archive, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Retries do not multiply: one layer repeats a request, four times in all, and the error is one line."""
    proxy.fault(r"^PUT ", "slow_down", times=100)
    with pytest.raises(ArchiveUnavailable, match="SlowDown") as failed:
        await put(archive, tmp_path / "in", b"data")
    assert proxy.seen(r"^PUT ") == 4
    assert "\n" not in str(failed.value)
    assert "This step itself costs nothing" in str(failed.value)


async def test_a_failed_large_upload_leaves_no_parts(
    moto: S3Server, archive: Archive, proxy: FaultProxy, tmp_path: Path
) -> None:
    """When a part cannot be sent the upload is aborted, so nobody pays for its storage."""
    proxy.fault(r"^PUT .*partNumber=2", "reset", times=100)
    with pytest.raises(ArchiveUnavailable):
        await put(archive, tmp_path / "in", noise(LARGE))
    bucket = archive.location.split("/")[2]
    assert moto.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert await archive.list() == []


async def test_a_read_that_breaks_off_goes_on_where_it_was(
    archive: Archive, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Two broken connections cost no byte: what has arrived is not asked for again."""
    data = noise(LARGE)
    await put(archive, tmp_path / "in", data)
    proxy.fault(r"^GET .*video\.mp4", "cut_answer", times=2)
    fetched = await archive.fetch(KEY, tmp_path / "out", sha256=sha(data))
    assert fetched.size == LARGE
    assert proxy.seen(r"^GET .*video\.mp4") == 3


async def test_a_copy_made_by_another_tool_is_told_by_its_bytes(moto: S3Server, tmp_path: Path) -> None:
    """An object without our sha256 beside it is hashed before it is called the same or another."""
    bucket = moto.new_bucket()
    archive = moto.archive(bucket)
    moto.client().put_object(Bucket=bucket, Key=f"films/2026/{KEY}", Body=b"copied")
    assert await put(archive, tmp_path / "in", b"copied") is True
    with pytest.raises(ArchiveConflict):
        await put(archive, tmp_path / "in", b"Copied")


async def test_files_carry_their_type_and_hash(moto: S3Server) -> None:
    """A browser plays what it gets from the bucket, and any tool can read the sha256."""
    bucket = moto.new_bucket()
    await moto.archive(bucket, prefix="").put_bytes("a.mp4", b"data", content_type="video/mp4")
    found = moto.client().head_object(Bucket=bucket, Key="a.mp4")
    assert (found["ContentType"], found["Metadata"]) == ("video/mp4", {"sha256": sha(b"data")})


async def test_a_missing_bucket_is_not_an_empty_archive(moto: S3Server) -> None:
    """Reading, writing and checking name the bucket as what is missing."""
    archive = moto.archive("no-such-bucket")
    for work in (
        archive.put_bytes(KEY, b"", content_type="video/mp4"),
        archive.manifest("2026/11/21/a-1"),
        archive.verify(),
        archive.gallery(),
    ):
        with pytest.raises(ArchiveNotFound, match="bucket does not exist"):
            await work


async def test_a_server_that_is_not_there_is_said_to_be_so(moto: S3Server) -> None:
    """No connection is an error of its own, without the address of any request."""
    archive = moto.archive("bucket", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(ArchiveUnavailable, match="cannot be reached") as failed:
        await archive.put_bytes(KEY, b"", content_type="video/mp4")
    assert "127.0.0.1" not in str(failed.value)


async def test_settings_come_from_the_environment(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual AWS variables are enough."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto.secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.url)
    archive = Archive(f"s3://{moto.new_bucket()}/some/where/")
    assert archive.location.endswith("/some/where")
    await archive.put_bytes(KEY, b"data", content_type="video/mp4")
    assert archive.url(KEY) == f"{archive.location}/{KEY}"
    assert await archive.list() == [KEY]


@pytest.mark.parametrize("region", ["eu-west-1", ""])
async def test_the_region_comes_from_the_environment(
    moto: S3Server, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION wins over AWS_DEFAULT_REGION, as with AWS's own tools; an empty one is none."""
    for name, value in (moto.environ | {"AWS_REGION": region, "AWS_DEFAULT_REGION": "eu-west-3"}).items():
        monkeypatch.setenv(name, value)
    with FaultProxy(moto.port) as proxy:
        archive = Archive(f"s3://{moto.new_bucket()}/x", endpoint_url=proxy.url)
        await archive.put_bytes(KEY, b"data", content_type="video/mp4")
        assert proxy.regions == {region or "eu-west-3"}


async def test_no_credentials_are_asked_for_by_name(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variables that are missing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(ArchiveDenied, match="AWS_ACCESS_KEY_ID"):
        await Archive("s3://bucket/x", endpoint_url=moto.url, region="us-east-1").list()


@pytest.mark.parametrize("location", ["s3://", "s3:///prefix", "s3://key:secret@bucket/x", "s3://b/x?sig=1"])
def test_an_s3_location_is_a_bucket_and_a_prefix(location: str) -> None:
    """Credentials and queries have no place in it, and the refusal does not repeat them."""
    with pytest.raises(ArchiveKeyInvalid) as refused:
        Archive(location)
    assert "sig" not in str(refused.value)
    assert "key:secret" not in str(refused.value)


def test_an_archive_that_is_not_closed_leaves_nothing_open(moto: S3Server) -> None:
    """With the event loop its connections end, without a warning on the terminal."""
    code = (
        "import asyncio; from prefect_ltx.archive import Archive\n"
        f"archive = Archive('s3://{moto.new_bucket()}/x', endpoint_url={moto.url!r}, key='k', secret='s')\n"
        "for _ in range(2): print(asyncio.run(archive.verify()).ok)\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("True\nTrue\n", 0), run.stderr
    assert "nclosed" not in run.stderr


@pytest.mark.parametrize("echoes", [True, False])
async def test_what_was_written_is_looked_at_unless_the_answer_says_it(
    moto: S3Server, tmp_path: Path, echoes: bool
) -> None:
    """An answer with our SHA-256 saves a request for every file; without one the object is read back by a HEAD."""
    with FaultProxy(moto.port, echoes=echoes) as proxy:
        archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
        await archive.put_bytes("a/first.txt", b"is the store write-once?", content_type="text/plain")
        proxy.log.clear()
        assert await put(archive, tmp_path / "in", noise(1000)) is False
        assert [line.split()[0] for line in proxy.log] == (["PUT"] if echoes else ["PUT", "HEAD"])
        with pytest.raises(ArchiveConflict):
            await put(archive, tmp_path / "in", noise(1000, seed=1))


@pytest.mark.real_s3
@pytest.mark.parametrize("left", [1000, 500], ids=["altered", "shorter"])
async def test_a_file_that_changes_after_it_was_hashed_is_not_stored(
    swift: S3Server, tmp_path: Path, left: int
) -> None:
    """It is read once to be hashed and once to be sent; the server refuses what differs, and the error says why."""
    path = tmp_path / "in"
    with FaultProxy(swift.port) as proxy:
        archive = swift.archive(swift.new_bucket(), endpoint_url=proxy.url)
        proxy.fault(r"^PUT ", "slow_down", meanwhile=lambda: written(path, noise(left, seed=1)))
        with pytest.raises(ArchiveCorrupt, match="not the one that was described"):
            await put(archive, path, noise(1000))
        assert await archive.list() == []


@pytest.mark.real_s3
async def test_wrong_credentials_are_refused_without_being_shown(swift: S3Server) -> None:
    """The server's refusal is an error of its own; neither key nor secret is in it."""
    archive = swift.archive(swift.new_bucket(), secret=f"{SECRET}-but-wrong")
    with pytest.raises(ArchiveDenied) as refused:
        await archive.put_bytes(KEY, b"data", content_type="video/mp4")
    assert SECRET not in str(refused.value)


@pytest.mark.real_s3
@pytest.mark.parametrize(
    ("size", "request_line"), [(1000, r"^PUT .*/video\.mp4"), (LARGE, r"^PUT .*partNumber=2")]
)
async def test_bytes_changed_on_the_way_are_refused_by_the_server(
    swift: S3Server, tmp_path: Path, size: int, request_line: str
) -> None:
    """Each body carries its SHA-256: damage once is sent again, damage every time is an error, never a file."""
    data = noise(size)
    with FaultProxy(swift.port) as proxy:
        archive = swift.archive(swift.new_bucket(), endpoint_url=proxy.url)
        proxy.fault(request_line, "corrupt")
        await put(archive, tmp_path / "in", data)
        assert sha(await archive.read_bytes(KEY)) == sha(data)
        other = swift.archive(swift.new_bucket(), endpoint_url=proxy.url)
        proxy.fault(request_line, "corrupt", times=100)
        with pytest.raises((ArchiveUnavailable, ArchiveCorrupt)):
            await put(other, tmp_path / "in", data)
        assert await other.list() == []


async def test_a_server_that_hangs_does_not_hold_a_cancelled_write(
    archive: Archive, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Cancelling ends a write at once even while the server does not answer."""
    proxy.fault(r"^PUT ", "hang")
    write = asyncio.create_task(put(archive, tmp_path / "in", b"data"))
    while not proxy.seen(r"^PUT "):
        await asyncio.sleep(0.01)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await write
