"""An answer that is not S3's own is neither an empty archive nor a success, and a refusal says what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_parts import archive_generation, noise, sha, written
from fault_proxy import FaultProxy
from s3_servers import S3Server

from prefect_ltx.archive import Archive, ArchiveDenied, ArchiveError, ArchiveUnavailable
from prefect_ltx.doctor import check_archive
from prefect_ltx.settings import Settings

ALWAYS = 1000
LARGE = 21 << 20
FILES = {"video.mp4": b"video"}
STRANGERS = ("page", "page_with_etag", "broken_page", "empty")


@pytest.fixture
def proxy(moto: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


@pytest.fixture
def bucket(moto: S3Server) -> str:
    return moto.new_bucket()


@pytest.fixture
def archive(moto: S3Server, proxy: FaultProxy, bucket: str) -> Archive:
    return moto.archive(bucket, endpoint_url=proxy.url)


@pytest.mark.parametrize("stranger", [*STRANGERS, "page_404", "cut_listing", "endless_listing"])
async def test_a_listing_that_is_not_s3s_is_no_empty_archive(
    archive: Archive, proxy: FaultProxy, stranger: str
) -> None:
    """Verify, gallery, rehydrate, marks and stale parts: each says that S3 is unavailable, and no page is written."""
    await archive_generation(archive, FILES)
    await archive.gallery()
    page = await archive.read_bytes("index.html")
    proxy.fault(r"^GET /[^/?]*/?\?(?!.*uploads)", stranger, times=ALWAYS)  # type: ignore[arg-type]
    writes = proxy.seen(r"^PUT .*index\.html")
    for work in (archive.verify, archive.gallery, archive.list, archive.some_generations):
        if stranger in ("cut_listing", "endless_listing") and work == archive.some_generations:
            continue  # one page is all that it asks for
        with pytest.raises(ArchiveUnavailable):
            await work()
    assert proxy.seen(r"^PUT .*index\.html") == writes
    proxy._rules.clear()
    assert await archive.read_bytes("index.html") == page


async def test_a_list_of_uploads_that_is_not_s3s_clears_nothing(archive: Archive, proxy: FaultProxy) -> None:
    """Nothing counts as nothing left only where S3 says so."""
    for stranger in STRANGERS:
        proxy.fault(r"^GET .*\?.*uploads", stranger, times=4)  # type: ignore[arg-type]
        with pytest.raises(ArchiveUnavailable):
            await archive.clear_stale_temporaries(0)


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (1000, r"^PUT .*/video\.mp4"),
        (1000, r"^HEAD "),
        (LARGE, r"^POST .*\?uploads"),
        (LARGE, r"^PUT .*partNumber=2"),
        (LARGE, r"^POST .*\?uploadId="),
    ],
    ids=["put", "head", "begin", "part", "complete"],
)
async def test_a_write_that_something_else_answered_is_tried_again_then_unavailable(
    archive: Archive, proxy: FaultProxy, tmp_path: Path, size: int, line: str
) -> None:
    """A page, a page with an ETag, nothing: once it is healed, for good it is "unavailable", never "corrupt"."""
    data = noise(size)
    file = written(tmp_path / "in", data)
    for number, stranger in enumerate(STRANGERS if size < LARGE else ("page_with_etag", "empty")):
        key = f"a{number}/video.mp4"
        proxy.fault(line, stranger)  # type: ignore[arg-type]
        await archive.put_file(key, file, sha256=sha(data), content_type="video/mp4")
        assert sha(await archive.read_bytes(key)) == sha(data)
    proxy.fault(line, "empty", times=ALWAYS)
    with pytest.raises(ArchiveUnavailable):
        await archive.put_file("b/video.mp4", file, sha256=sha(data), content_type="video/mp4")


async def test_a_gateways_404_is_no_missing_file(archive: Archive, proxy: FaultProxy) -> None:
    """S3 says NoSuchKey; a page with 404 says nothing about the archive."""
    await archive_generation(archive, FILES)
    proxy.fault(r"^GET .*video\.mp4", "page_404", times=ALWAYS)
    report = await archive.verify()
    assert (report.missing, len(report.unreadable)) == ([], 1)


async def test_a_refusal_names_the_permission(archive: Archive, proxy: FaultProxy) -> None:
    """HEAD refused while PUT is allowed, and each other call: what to grant is in the message."""
    for line, permission in (
        (r"^HEAD ", "s3:GetObject"),
        (r"^GET .*list-type", "s3:ListBucket"),
        (r"^GET .*\.bin", "s3:GetObject"),
        (r"^PUT ", "s3:PutObject"),
    ):
        proxy.fault(line, "refused", times=ALWAYS)
        with pytest.raises(ArchiveDenied, match=permission):
            await used(archive, f"x{len(line)}.bin")
        proxy._rules.clear()


async def used(archive: Archive, key: str) -> None:
    await archive.put_bytes(key, b"x", content_type="text/plain")
    await archive.list()
    await archive.read_bytes(key)


async def test_a_refusal_after_the_write_says_that_it_was_written(
    archive: Archive, proxy: FaultProxy
) -> None:
    """Stored and then not to be looked at: not called denied as if nothing had happened."""
    await archive.put_bytes(
        "first.bin", b"1", content_type="text/plain"
    )  # the store refuses taken names: no looking
    proxy.fault(r"^HEAD ", "refused", times=ALWAYS)
    with pytest.raises(ArchiveDenied, match=r"was written.*s3:GetObject"):
        await archive.put_bytes("second.bin", b"2", content_type="text/plain")


async def test_a_wrong_clock_is_named_by_the_doctor_too(
    archive: Archive, proxy: FaultProxy, moto: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By S3's own word, and by its `Date` where a HEAD has no body to say it in."""
    for fault, line in (("skewed", r"^(GET|PUT|POST|DELETE) "), ("skewed_bare", r"^HEAD ")):
        proxy.fault(line, fault, times=ALWAYS)  # type: ignore[arg-type]
        with pytest.raises(ArchiveError, match="clock"):
            await archive.put_bytes("x.bin", b"x", content_type="text/plain")
        for name, value in (moto.environ | {"AWS_ENDPOINT_URL": proxy.url}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PREFECT_LTX_ARCHIVE", f"s3://{bucket}/films/2026")
        (finding,) = await check_archive(Settings())
        assert "clock" in finding.what + finding.remedy
        proxy._rules.clear()
    proxy.fault(r"^HEAD ", "refused", times=ALWAYS)
    (finding,) = await check_archive(Settings())
    assert "s3:GetObject" in finding.what + finding.remedy
