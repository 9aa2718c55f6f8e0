"""The write-once probe against S3 servers: what a store does not do is found before a paid video is in it."""

from typing import Any

import pytest
from fault_proxy import FaultProxy
from s3_servers import SECRET, S3Server

from prefect_ltx.doctor import Finding, check_archive
from prefect_ltx.settings import Settings

ALWAYS = 1000


async def looked_at(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, **more: str
) -> list[Finding]:
    """What the doctor says of an archive in that bucket."""
    for name, value in (server.environ | more).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", f"s3://{bucket}/films/2026")
    return await check_archive(Settings())


def left_in(server: S3Server, bucket: str) -> list[Any]:
    client = server.client()
    objects = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [*objects, *client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


@pytest.mark.parametrize("kind", ["moto", pytest.param("swift", marks=pytest.mark.real_s3)])
async def test_a_store_that_refuses_a_second_write(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that knows conditional writes is sound, whole files and parts, and nothing of the probe stays."""
    server: S3Server = request.getfixturevalue(kind)
    bucket = server.new_bucket()
    first, *others = await looked_at(server, bucket, monkeypatch)
    assert first.severity == "ok"
    assert "write-once" in first.what
    # Swift's are known not to be atomic; whether eight writers notice is chance.
    assert all(kind == "swift" and "not atomic" in each.what for each in others)
    assert left_in(server, bucket) == []


@pytest.mark.parametrize(
    ("ignored_in", "severity", "says"),
    [
        ("^(PUT|POST) ", "error", "the store ignores the condition of a write (If-None-Match)"),
        ("^POST .*uploadId=", "warning", "where a large file, written in parts, is completed"),
        ("^PUT .*-race", "warning", "not atomic: 8 of 8 writers"),
    ],
    ids=["nowhere", "not in parts", "not in a race"],
)
async def test_a_store_that_ignores_conditions(
    ignored_in: str, severity: str, says: str, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store itself refuses nothing, looking first hides nothing: writers at the same moment look in vain."""
    bucket = moto.new_bucket()
    with FaultProxy(moto.port) as proxy:
        proxy.fault(ignored_in, "unconditional", times=ALWAYS)
        found = await looked_at(moto, bucket, monkeypatch, AWS_ENDPOINT_URL=proxy.url)
    (finding,) = [each for each in found if each.severity != "ok"]
    assert finding.severity == severity
    assert says in finding.what
    assert finding.remedy
    assert ("ok" in [each.severity for each in found]) == (severity == "warning")
    assert left_in(moto, bucket) == []


@pytest.mark.real_s3
async def test_a_store_that_refuses_the_key(swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong credentials are one error, which shows neither of them."""
    bucket = swift.new_bucket()
    wrong = f"{SECRET}-but-wrong"
    (finding,) = await looked_at(swift, bucket, monkeypatch, AWS_SECRET_ACCESS_KEY=wrong)
    assert finding.severity == "error"
    assert "right to put, get, list and delete" in finding.remedy
    assert SECRET not in finding.model_dump_json()


async def test_a_bucket_that_is_not_there(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing bucket is named as what is missing."""
    (finding,) = await looked_at(moto, "no-such-bucket", monkeypatch)
    assert finding.severity == "error"
    assert "bucket does not exist" in finding.what
