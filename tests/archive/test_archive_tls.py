"""S3 over TLS, with a certificate of the tests' own."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_parts import archive_generation, manifest, noise, sha, written
from fault_proxy import FaultProxy
from s3_servers import S3Server
from s3_sink import certificate

from prefect_ltx.archive import ArchiveDenied

pytestmark = pytest.mark.real_s3
SIZES = {"video.mp4": 21 << 20, "poster.jpg": 100_000}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a client has to trust; the server's key lies beside it."""
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def proxy(swift: S3Server, authority: Path) -> Iterator[FaultProxy]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name("server.pem"))
    with FaultProxy(swift.port, tls=context) as proxy:
        yield proxy


async def test_an_archive_works_over_tls(
    swift: S3Server, proxy: FaultProxy, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts and in one request, with checksums that the server verifies, and every byte comes back."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    files = {name: noise(size) for name, size in SIZES.items()}
    made = manifest(files)
    async with swift.archive(swift.new_bucket(), endpoint_url=proxy.url) as archive:
        proxy.fault(r"^PUT .*partNumber=2", "corrupt")
        proxy.fault(r"^PUT .*poster\.jpg", "corrupt")
        for file in made.files:
            path = written(tmp_path / file.name, files[file.name])
            await archive.put_file(f"{made.folder}/{file.name}", path, sha256=file.sha256)
        await archive.publish(made)
        report = await archive.verify()
    assert (report.ok, report.files, report.bytes) == (True, 2, sum(SIZES.values()))
    # Three parts and a picture, the two that were damaged on the way once more.
    assert proxy.seen(r"^PUT .*partNumber=") == 4
    assert proxy.seen(r"^PUT .*poster\.jpg") == 2


async def test_a_certificate_that_is_not_trusted_ends_in_one_clear_line(
    swift: S3Server, proxy: FaultProxy, tmp_path: Path
) -> None:
    """What is wrong and which setting helps; no request was sent, and it is not tried over and over."""
    bucket = swift.new_bucket()
    data = noise(1000)
    async with swift.archive(bucket, endpoint_url=proxy.url, retry_wait=100) as archive:
        with pytest.raises(ArchiveDenied, match="certificate.*AWS_CA_BUNDLE") as failed:
            await archive.put_file("a/video.mp4", written(tmp_path / "in", data), sha256=sha(data))
        with pytest.raises(ArchiveDenied, match="certificate"):
            await archive_generation(archive, {"video.mp4": data})
    assert "\n" not in str(failed.value)
    assert "127.0.0.1" not in str(failed.value)
    assert proxy.log == []
    assert await swift.archive(bucket).list() == []
