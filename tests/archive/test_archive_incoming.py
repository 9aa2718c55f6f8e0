"""A file that is stored while it arrives, on a folder, moto and OpenStack Swift, and when S3 does what it does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_parts import Place, noise, sha
from fault_proxy import FaultProxy
from s3_servers import S3Server

from prefect_ltx.archive import (
    Archive,
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveUnavailable,
    Incoming,
    StoredFile,
)

LARGE = 21 << 20
KEY = "a/video.mp4"
PIECE = 1 << 18


def begin(archive: Archive) -> Incoming:
    incoming = archive.incoming(KEY, content_type="video/mp4")
    assert incoming is not None
    return incoming


async def add_all(incoming: Incoming, data: bytes) -> None:
    for start in range(0, len(data), PIECE):
        await incoming.add(data[start : start + PIECE])


async def stream(archive: Archive, data: bytes) -> StoredFile:
    incoming = begin(archive)
    try:
        await add_all(incoming, data)
        return await incoming.finish(sha256=sha(data), size=len(data))
    finally:
        await incoming.discard()


@pytest.mark.parametrize("size", [0, 16 << 20, LARGE])
async def test_pieces_become_one_file_when_they_are_finished(place: Place, size: int) -> None:
    """Nothing is listed before; afterwards it is there byte by byte, and storing it again changes nothing."""
    data = noise(size)
    incoming = begin(place.archive)
    await add_all(incoming, data)
    assert await place.archive.list() == []
    stored = await incoming.finish(sha256=sha(data), size=size)
    assert (stored.key, stored.size, stored.sha256, stored.existed) == (KEY, size, sha(data), False)
    assert sha(await place.archive.read_bytes(KEY)) == sha(data)
    assert (await stream(place.archive, data)).existed
    assert place.unfinished() == 0


async def test_a_large_file_is_on_its_way_before_its_end_is_known(place: Place) -> None:
    """That is what streaming means; discarding it leaves nothing behind."""
    incoming = begin(place.archive)
    await add_all(incoming, noise(LARGE))
    assert place.unfinished() == 1
    await incoming.discard()
    assert place.unfinished() == 0
    assert await place.archive.list() == []


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_starting_over_forgets_what_came_before(place: Place, size: int) -> None:
    """A source that begins anew gives a file of its last pieces alone."""
    incoming = begin(place.archive)
    await add_all(incoming, noise(LARGE, seed=1))
    incoming.start_over()
    data = noise(size, seed=2)
    await add_all(incoming, data)
    await incoming.finish(sha256=sha(data), size=size)
    assert sha(await place.archive.read_bytes(KEY)) == sha(data)
    assert place.unfinished() == 0


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_an_arriving_file_never_replaces_another(place: Place, size: int) -> None:
    """Write-once here too: other bytes under the key are a conflict, and the first ones stay."""
    await place.archive.put_bytes(KEY, b"first", content_type="video/mp4")
    with pytest.raises(ArchiveConflict):
        await stream(place.archive, noise(size))
    assert await place.archive.read_bytes(KEY) == b"first"
    assert place.unfinished() == 0


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_a_missing_piece_is_noticed(place: Place, size: int) -> None:
    """A file that is shorter than its sender says does not appear."""
    incoming = begin(place.archive)
    await add_all(incoming, noise(size))
    with pytest.raises(ArchiveCorrupt, match="in place of"):
        await incoming.finish(sha256=sha(noise(size)), size=size + 1)
    assert await place.archive.list() == []
    assert place.unfinished() == 0


async def test_a_large_file_that_arrived_is_told_by_its_bytes(place: Place) -> None:
    """On S3 its hash came too late for the object's metadata: the same bytes are known, others refused."""
    data = noise(LARGE)
    await stream(place.archive, data)
    assert (await stream(place.archive, data)).existed
    with pytest.raises(ArchiveConflict):
        await stream(place.archive, noise(LARGE, seed=1))


async def test_only_so_many_arrive_at_once(moto: S3Server) -> None:
    """Each may hold 16 MiB, so further ones are told to come later; one that ends makes room."""
    archive = moto.archive(moto.new_bucket())
    four = [begin(archive) for _ in range(4)]
    assert archive.incoming(KEY, content_type="video/mp4") is None
    await four[0].discard()
    await four[0].discard()
    begin(archive)
    assert archive.incoming(KEY, content_type="video/mp4") is None


@pytest.fixture
def proxy(moto: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", ["lost_answer", "conflict"])
@pytest.mark.parametrize(
    ("size", "request_line"),
    [
        (1000, r"^PUT .*/video\.mp4"),
        (LARGE, r"^POST .*\?uploads"),
        (LARGE, r"^PUT .*partNumber=2"),
        (LARGE, r"^POST .*\?uploadId="),
    ],
    ids=["put", "begin", "part", "complete"],
)
async def test_a_passing_fault_does_not_end_it(
    moto: S3Server, proxy: FaultProxy, size: int, request_line: str, fault: str
) -> None:
    """Whichever request it hits; an answer that was lost is settled by the upload's own name."""
    archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
    proxy.fault(request_line, fault)  # type: ignore[arg-type]
    data = noise(size)
    await stream(archive, data)
    assert proxy.seen(request_line) >= 2
    assert proxy.seen(r"^GET .*video\.mp4") == 0
    assert sha(await archive.read_bytes(KEY)) == sha(data)


async def test_a_lasting_fault_leaves_no_parts(moto: S3Server, proxy: FaultProxy) -> None:
    """The sender is told with its next pieces, and the upload is aborted."""
    bucket = moto.new_bucket()
    archive = moto.archive(bucket, endpoint_url=proxy.url)
    proxy.fault(r"^PUT .*partNumber=1", "slow_down", times=100)
    with pytest.raises(ArchiveUnavailable, match="SlowDown"):
        await stream(archive, noise(2 * LARGE))
    assert moto.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert await archive.list() == []


async def test_a_store_that_completes_over_what_is_there_is_not_asked_to(
    moto: S3Server, proxy: FaultProxy
) -> None:
    """Ceph knows conditions for whole files only: what is in the archive stays, because it is looked for first."""
    archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
    proxy.fault(r"^POST .*\?uploadId=", "unconditional", times=100)
    await archive.put_bytes(KEY, b"first", content_type="video/mp4")
    with pytest.raises(ArchiveConflict):
        await stream(archive, noise(LARGE))
    assert await archive.read_bytes(KEY) == b"first"


@pytest.mark.parametrize(
    "request_line", [r"^POST .*\?uploads", r"^PUT .*partNumber=", r"^POST .*\?uploadId="]
)
async def test_a_cancelled_sender_leaves_no_parts(
    moto: S3Server, proxy: FaultProxy, request_line: str
) -> None:
    """Wherever it stands when it is cancelled, while the server does not answer."""
    bucket = moto.new_bucket()
    archive = moto.archive(bucket, endpoint_url=proxy.url)
    proxy.fault(request_line, "slow_answer")
    sending = asyncio.create_task(stream(archive, noise(2 * LARGE)))
    while not proxy.seen(request_line):
        await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert moto.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.real_s3
@pytest.mark.parametrize("fault", ["corrupt", "truncated"])
async def test_damage_on_the_way_is_refused_by_a_real_server(
    swift: S3Server, fault: str, tmp_path: Path
) -> None:
    """Each part's CRC-32 is verified: damaged once it is sent again, damaged every time it is never a file."""
    data = noise(LARGE)
    with FaultProxy(swift.port) as proxy:
        archive = swift.archive(swift.new_bucket(), endpoint_url=proxy.url)
        proxy.fault(r"^PUT .*partNumber=2", fault)  # type: ignore[arg-type]
        await stream(archive, data)
        assert sha(await archive.read_bytes(KEY)) == sha(data)
        other = swift.archive(swift.new_bucket(), endpoint_url=proxy.url)
        proxy.fault(r"^PUT .*partNumber=2", fault, times=100)  # type: ignore[arg-type]
        with pytest.raises(ArchiveUnavailable):
            await stream(other, data)
        assert await other.list() == []
