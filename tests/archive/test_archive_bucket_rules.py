"""Buckets with rules: every write carries what the bucket asks for, and a refusal is told with its rule."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from archive_parts import manifest, noise, sha, written
from fault_proxy import FaultProxy
from pydantic import ValidationError
from s3_servers import S3Server

from prefect_ltx.archive import Archive, ArchiveDenied
from prefect_ltx.bucket_rules import BucketRules, BucketRulesInvalid
from prefect_ltx.doctor import check_archive
from prefect_ltx.settings import Settings, SettingsError

LARGE = 21 << 20
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
VARIABLES = {
    "PREFECT_LTX_S3_ENCRYPTION": "aws:kms",
    "PREFECT_LTX_S3_KMS_KEY": KEY_ARN,
    "PREFECT_LTX_S3_STORAGE_CLASS": "standard_ia",
    "PREFECT_LTX_S3_TAGS": "client=acme and co, kind=video",
    "PREFECT_LTX_S3_ACL": "bucket-owner-full-control",
    "PREFECT_LTX_S3_RETENTION": "governance 30",
    "PREFECT_LTX_S3_LEGAL_HOLD": "yes",
    "PREFECT_LTX_S3_REQUEST_PAYER": "requester",
}
HEADERS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": KEY_ARN,
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-acl": "bucket-owner-full-control",
}


@pytest.fixture
def proxy(moto: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(moto.port) as proxy:
        yield proxy


def begins(line: str) -> bool:
    """A request with which an object begins: whole, in parts, or as a copy."""
    return (line.startswith("PUT ") and "partNumber" not in line and "uploadId" not in line) or (
        line.startswith("POST ") and "uploads" in line
    )


RULES = BucketRules.of(
    encryption="aws:kms",
    kms_key=KEY_ARN,
    storage_class="STANDARD_IA",
    tags={"client": "acme and co", "kind": "video"},
    acl="bucket-owner-full-control",
    retention="GOVERNANCE",
    retention_days=30,
    legal_hold=True,
    requester_pays=True,
)


def test_settings_and_block_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block leaves empty, the settings say; what it says stands over them."""
    from prefect_ltx.blocks import VideoArchive

    location = "s3://bucket/films"
    assert Archive(location).rules == BucketRules()
    block = VideoArchive(
        location=location,
        encryption="aws:kms",
        kms_key_id=KEY_ARN,
        storage_class="STANDARD_IA",
        object_tags={"client": "acme and co", "kind": "video"},
        acl="bucket-owner-full-control",
        retention_mode="GOVERNANCE",
        retention_days=30,
        legal_hold=True,
        requester_pays=True,
    )
    assert block.get_archive().rules == RULES
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert Archive(location).rules == RULES
    assert VideoArchive(location=location).get_archive().rules == RULES
    own = VideoArchive(location=location, storage_class="GLACIER_IR", object_tags={"a": "b"}).get_archive()
    assert own.rules == RULES.model_copy(update={"storage_class": "GLACIER_IR", "tags": {"a": "b"}})
    assert own.elsewhere("s3://other/x").rules == own.rules
    assert Archive("/tmp/folder").rules is None


async def test_every_write_carries_every_rule(moto: S3Server, proxy: FaultProxy, tmp_path: Path) -> None:
    """Small and large files, files in parts, streams, manifests, marks, the gallery and tables; all requests say who
    pays, and the server keeps what was asked. What is replaced is not retained."""
    bucket = moto.new_bucket() + "-locked"
    moto.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    archive = moto.archive(bucket, prefix="films", endpoint_url=proxy.url, rules=RULES)
    small, large = noise(1000), noise(LARGE)
    async with archive:
        for name, data in (("video.mp4", small), ("large.mp4", large)):
            await archive.put_file(f"a/b/{name}", written(tmp_path / name, data), sha256=sha(data))
        for name, data in (("streamed.mp4", small), ("streamed-large.mp4", large)):
            incoming = archive.incoming(f"a/b/{name}", content_type="video/mp4")
            assert incoming is not None
            for at in range(0, len(data), 1 << 20):
                await incoming.add(data[at : at + (1 << 20)])
            await incoming.finish(sha256=sha(data), size=len(data))
        made = manifest({"video.mp4": small, "large.mp4": large}, folder="a/b")
        await archive.publish(made)
        await archive.mark("ledger-1", "generation-1", datetime.now(UTC))
        await archive.gallery()
        async with archive.elsewhere(f"s3://{bucket}/reports") as beside:
            await beside.put_bytes("ends.csv", b"a", content_type="text/csv", overwrite=True)
        assert (await archive.verify()).ok
    writes = [(line, headers) for line, headers in proxy.heads if begins(line)]
    assert len([line for line, _ in writes if "uploads" in line]) == 2
    assert len({line.partition("?")[0] for line, _ in writes}) == 8
    for line, headers in writes:
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, line
        assert headers["x-amz-tagging"] == "client=acme%20and%20co&kind=video", line
        once = "index.html" not in line and "ends.csv" not in line
        assert (headers.get("x-amz-object-lock-mode") == "GOVERNANCE") == once, line
        assert (headers.get("x-amz-object-lock-legal-hold") == "ON") == once, line
        if once:
            until = datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"])
            assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
    assert {headers.get("x-amz-request-payer") for _, headers in proxy.heads} == {"requester"}
    for name in ("a/b/video.mp4", "a/b/large.mp4", "a/b/streamed-large.mp4", "a/b/manifest.json"):
        there = moto.client().head_object(Bucket=bucket, Key=f"films/{name}")
        assert (there["ServerSideEncryption"], there["StorageClass"]) == ("aws:kms", "STANDARD_IA")
        tags = moto.client().get_object_tagging(Bucket=bucket, Key=f"films/{name}")["TagSet"]
        assert {each["Key"]: each["Value"] for each in tags} == {"client": "acme and co", "kind": "video"}


async def test_without_rules_nothing_is_said(moto: S3Server, proxy: FaultProxy, tmp_path: Path) -> None:
    """The bucket's own defaults hold; servers that know no such headers are served as before."""
    archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
    await archive.put_file("video.mp4", written(tmp_path / "v.mp4", b"v"), sha256=sha(b"v"))
    told = {name for _, headers in proxy.heads for name in headers}
    assert not [name for name in told if "encryption" in name or "lock" in name or "tagging" in name]
    assert not {"x-amz-acl", "x-amz-storage-class", "x-amz-request-payer"} & told


OWNERS = "bucket-owner-full-control"
POLICIES: list[tuple[Callable[[str, dict[str, str]], str], dict[str, str], str]] = [
    # what the policy refuses, what is set, what the doctor says
    (
        lambda line, got: wants(line, got, "x-amz-server-side-encryption", "AES256"),
        {},
        "S3_ENCRYPTION=AES256",
    ),
    (
        lambda line, got: wants(line, got, "x-amz-server-side-encryption", "aws:kms"),
        {},
        "S3_ENCRYPTION=aws:kms",
    ),
    (
        lambda line, got: wants(line, got, "x-amz-server-side-encryption", "aws:kms"),
        {"PREFECT_LTX_S3_ENCRYPTION": "AES256"},
        "S3_ENCRYPTION=aws:kms",
    ),
    (
        lambda line, got: wants(line, got, "x-amz-acl", "bucket-owner-full-control"),
        {},
        "S3_ACL=bucket-owner-full-control",
    ),
    (
        lambda line, got: wants(line, got, "x-amz-storage-class", "GLACIER_IR"),
        {},
        "S3_STORAGE_CLASS=GLACIER_IR",
    ),
    (
        lambda line, got: "" if "x-amz-request-payer" in got else "AccessDenied",
        {},
        "S3_REQUEST_PAYER=requester",
    ),
    (
        lambda line, got: (
            wants(line, got, "x-amz-server-side-encryption", "AES256")
            or wants(line, got, "x-amz-acl", "bucket-owner-full-control")
        ),
        {},
        "S3_ENCRYPTION=AES256 and PREFECT_LTX_S3_ACL=bucket-owner-full-control",
    ),
    (
        lambda line, got: "AccessDenied" if begins(line) and "x-amz-tagging" in got else "",
        {"PREFECT_LTX_S3_TAGS": "client=acme"},
        "does not take object tags",
    ),
    (
        lambda line, got: "AccessControlListNotSupported" if "x-amz-acl" in got else "",
        {"PREFECT_LTX_S3_ACL": "public-read"},
        "S3_ACL",
    ),
    (
        lambda line, got: "KMS.NotFoundException" if "aws-kms-key-id" in str(got) else "",
        {"PREFECT_LTX_S3_ENCRYPTION": "aws:kms", "PREFECT_LTX_S3_KMS_KEY": "alias/nothing"},
        "KMS",
    ),
    (lambda line, got: "AccessDenied" if begins(line) else "", {}, "s3:PutObject"),
]


def wants(line: str, got: dict[str, str], header: str, value: str) -> str:
    return "AccessDenied" if begins(line) and got.get(header) != value else ""


async def test_the_doctor_says_which_rule_a_refusal_asks_for(
    moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out by trying, as S3 says AccessDenied to everything; nothing stays; set as it says, it is well."""
    for refuses, given, said in POLICIES:
        with FaultProxy(moto.port, refuses=refuses) as proxy, monkeypatch.context() as patch:
            bucket = moto.new_bucket()
            patch.setenv("PREFECT_LTX_ARCHIVE", f"s3://{bucket}/films")
            for name, value in (moto.environ | {"AWS_ENDPOINT_URL": proxy.url} | given).items():
                patch.setenv(name, value)
            (finding,) = await check_archive(Settings())
            assert finding.severity == "error", said
            assert said in f"{finding.what} {finding.remedy}", (said, finding)
            assert moto.client().list_objects_v2(Bucket=bucket).get("KeyCount", 0) == 0, said
            if said.startswith("S3_") and "=" in said:
                for part in f"PREFECT_LTX_{said}".split(" and "):
                    name, _, value = part.partition("=")
                    patch.setenv(name, value)
                found = await check_archive(Settings())
                assert {each.severity for each in found} == {"ok"}, (said, found)
                assert any("by the rules that are set" in each.what for each in found)


@pytest.mark.real_s3
async def test_the_doctor_says_which_rule_a_server_does_not_know(
    swift: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swift answers NotImplemented to encryption and tags; what it knows, it takes."""
    for given, lacks in (
        ({"ENCRYPTION": "AES256", "ACL": "private"}, "S3_ENCRYPTION"),
        ({"TAGS": "client=acme"}, "S3_TAGS"),
        ({"STORAGE_CLASS": "STANDARD_IA"}, "S3_STORAGE_CLASS"),
        ({"ACL": "bucket-owner-full-control", "STORAGE_CLASS": "STANDARD", "REQUEST_PAYER": "requester"}, ""),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("PREFECT_LTX_ARCHIVE", f"s3://{swift.new_bucket()}/films")
            for name, value in (swift.environ | {f"PREFECT_LTX_S3_{n}": v for n, v in given.items()}).items():
                patch.setenv(name, value)
            found = await check_archive(Settings())
        refused = [each for each in found if each.severity == "error"]
        assert [lacks in each.remedy for each in refused] == ([True] if lacks else []), found
        assert all("does not take" in each.what for each in refused), found


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("InvalidStorageClass", "PREFECT_LTX_S3_STORAGE_CLASS"),
        ("InvalidTag", "PREFECT_LTX_S3_TAGS"),
        ("InvalidEncryptionAlgorithmError", "PREFECT_LTX_S3_ENCRYPTION"),
        ("ObjectLockConfigurationNotFoundError", "PREFECT_LTX_S3_RETENTION"),
        ("KMS.DisabledException", "PREFECT_LTX_S3_KMS_KEY"),
    ],
)
async def test_what_a_bucket_says_of_a_rule_is_told(
    moto: S3Server, proxy: FaultProxy, tmp_path: Path, code: str, setting: str
) -> None:
    """By the setting that it is, whole files and files in parts alike."""
    proxy.refuses = lambda line, got: code if begins(line) else ""
    archive = moto.archive(moto.new_bucket(), endpoint_url=proxy.url)
    for number, data in enumerate((b"v", noise(LARGE))):
        path = written(tmp_path / f"{number}.mp4", data)
        with pytest.raises(ArchiveDenied) as refused:
            await archive.put_file(f"{number}.mp4", path, sha256=sha(data))
        assert setting in str(refused.value.next_step)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCRYPTION", "rot13"),
        ("KMS_KEY", "alias/mine"),  # without an encryption that has keys
        ("STORAGE_CLASS", "GLACIER"),  # what is in it cannot be read
        ("TAGS", "acme"),
        ("TAGS", "a=1,a=2"),
        ("TAGS", "a=b & c"),
        ("TAGS", "aws:x=1"),
        ("TAGS", ",".join(f"t{number}=1" for number in range(11))),
        ("ACL", "everybody"),
        ("RETENTION", "GOVERNANCE"),
        ("RETENTION", "FOREVER 5"),
        ("RETENTION", "GOVERNANCE 0"),
        ("REQUEST_PAYER", "owner"),
    ],
)
def test_rules_that_no_bucket_takes_are_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written, sent or spent."""
    monkeypatch.setenv(f"PREFECT_LTX_S3_{name}", value)
    with pytest.raises(SettingsError) as refused:
        Archive("s3://bucket/films")
    assert "The bucket's rules" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_block_s_form_refuses_the_same() -> None:
    """What a select offers is all that it takes, and rules have to fit together before a run begins."""
    from prefect_ltx.blocks import VideoArchive

    for wrong in ({"encryption": "rot13"}, {"storage_class": "GLACIER"}, {"acl": "x"}, {"retention_days": 0}):
        with pytest.raises(ValidationError):
            VideoArchive(location="s3://bucket/films", **wrong)  # type: ignore[arg-type]
    with pytest.raises(BucketRulesInvalid, match="KMS key needs"):
        VideoArchive(location="s3://bucket/films", kms_key_id="alias/mine").get_archive()


def test_the_rules_of_a_request() -> None:
    """A copy carries them too; parts carry the payer only; reading carries nothing else."""
    rules = BucketRules.of(encryption="AES256", tags={"a": "b"}, retention="COMPLIANCE", retention_days=1)
    now = datetime(2026, 11, 26, tzinfo=UTC)
    said: dict[str, Any] = rules.of_request("copy_object", {}, now)
    assert said == {
        "ServerSideEncryption": "AES256",
        "Tagging": "a=b",
        "TaggingDirective": "REPLACE",
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": datetime(2026, 11, 27, tzinfo=UTC),
    }
    assert rules.of_request("upload_part", {}) == {}
    assert BucketRules.of(requester_pays=True).of_request("get_object", {}) == {"RequestPayer": "requester"}
