import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fal_wire import Answer, Seen, Wire, answer

from prefect_ltx.fal import (
    FalAccountLocked,
    FalClient,
    FalError,
    FalGateway,
    FalHostRefused,
    FalRequestInvalid,
    FalUploadError,
)
from prefect_ltx.fal.storage import MULTIPART_OVER, PART_SIZE

TOKEN = "/storage/auth/token"
UPLOAD = "/files/upload"
PARTS = "/files/upload/multipart"
INITIATE = "/storage/upload/initiate"


def token(seconds: float = 600, **changes: object) -> Answer:
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    named = {"token": "cdn-token-1", "token_type": "Bearer", "base_url": "", "expires_at": expires}
    return answer(named | changes)


def kinds(wire: Wire) -> list[str]:
    return [one.headers.get("authorization", "none").split()[0] for one in wire.seen]


@pytest.mark.parametrize("from_disk", [True, False])
async def test_the_key_buys_a_token_and_the_token_uploads(
    client: FalClient, wire: Wire, tmp_path: Path, key: str, from_disk: bool
) -> None:
    """Bytes or a file arrive whole, with type and name; the CDN sees the token and never the key."""
    data = bytes(range(256)) * 9000
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    wire.on(TOKEN, token())
    wire.on(UPLOAD, answer({"access_url": "https://v3.fal.media/files/a/clip.mp4"}))
    url = await client.upload(path if from_disk else data, content_type="video/mp4", file_name="Clip é 1.mp4")
    assert url == "https://v3.fal.media/files/a/clip.mp4"
    asked, sent = wire.seen
    assert (asked.query, asked.json) == ({"storage_type": "fal-cdn-v3"}, {})
    assert asked.headers["authorization"] == f"Key {key}"
    assert sent.headers["authorization"] == "Bearer cdn-token-1"
    assert (sent.body == data, sent.headers["content-type"]) == (True, "video/mp4")
    assert sent.headers["x-fal-file-name"] == "Clip %C3%A9 1.mp4"
    assert sent.headers["content-length"] == str(len(data))


async def test_a_token_is_used_until_it_is_about_to_expire(client: FalClient, wire: Wire) -> None:
    """One token serves many uploads; one that ends within the minute is replaced."""
    wire.on(TOKEN, token(30), token(600))
    wire.on(UPLOAD, answer({"access_url": "https://v3.fal.media/f"}))
    for _ in range(4):
        await client.upload(b"x", content_type="image/png", file_name="x.png")
    assert len(wire.calls(TOKEN)) == 2


async def test_a_token_that_the_cdn_no_longer_takes_is_replaced_once(client: FalClient, wire: Wire) -> None:
    """A 401 of the CDN means a new token, not a failed upload."""
    wire.on(TOKEN, token())
    wire.on(UPLOAD, answer({"detail": "expired"}, 401), answer({"access_url": "https://v3.fal.media/f"}))
    assert await client.upload(b"x", content_type="image/png", file_name="x.png")
    assert len(wire.calls(TOKEN)) == 2


@pytest.mark.parametrize("broken", [TOKEN, UPLOAD])
@pytest.mark.parametrize("failure", [answer({"detail": "x"}, 500), Answer(end="silent"), answer({"x": 1})])
async def test_the_fallback_goes_to_a_signed_url_without_key_or_token(
    client: FalClient, wire: Wire, broken: str, failure: Answer
) -> None:
    """When token or CDN fail, a signed URL takes the file, and gets no credential of ours."""
    wire.on(TOKEN, token())
    wire.on(UPLOAD, answer({"access_url": "https://v3.fal.media/f"}))
    wire.on(broken, failure)
    signed = f"http://localhost:{wire.port}/bucket/x?X-Sig=s3cr3t"
    wire.on(INITIATE, answer({"upload_url": signed, "file_url": "https://v3.fal.media/files/b"}))
    wire.on("/bucket/x", Answer(200))
    url = await client.upload(b"abc", content_type="image/png", file_name="x.png")
    assert url == "https://v3.fal.media/files/b"
    [put] = wire.calls("/bucket/x")
    assert (put.method, put.body, put.query) == ("PUT", b"abc", {"X-Sig": "s3cr3t"})
    assert "authorization" not in put.headers
    [asked] = wire.calls(INITIATE)
    assert asked.json == {"file_name": "x.png", "content_type": "image/png"}


async def test_when_nothing_takes_the_file_the_error_names_both_ways(client: FalClient, wire: Wire) -> None:
    """Two failed ways are one clear error, without the signed URL's query."""
    wire.on(TOKEN, token())
    wire.on(UPLOAD, answer({"detail": "CDN is down"}, 500))
    signed = f"{wire.url}/bucket/x?X-Sig=s3cr3t"
    wire.on(INITIATE, answer({"upload_url": signed, "file_url": "https://v3.fal.media/files/b"}))
    wire.on("/bucket/x", Answer(403, b"SignatureDoesNotMatch"))
    with pytest.raises(FalUploadError, match=r"CDN is down.*403.*Not billed") as caught:
        await client.upload(b"abc", content_type="image/png", file_name="x.png")
    assert "s3cr3t" not in str(caught.value)


async def test_a_locked_account_is_said_and_not_worked_around(client: FalClient, wire: Wire) -> None:
    """A refusal of the account is its own error, and no other way is tried."""
    wire.on(TOKEN, answer({"detail": "User is locked. Reason: Exhausted balance."}, 403))
    with pytest.raises(FalAccountLocked):
        await client.upload(b"abc", content_type="image/png", file_name="x.png")
    assert len(wire.seen) == 1


async def test_nothing_to_upload_is_refused(client: FalClient, wire: Wire, tmp_path: Path) -> None:
    """An empty or missing file is found before anything is sent."""
    (tmp_path / "empty").touch()
    for source in (b"", tmp_path / "empty", tmp_path / "missing", tmp_path):
        with pytest.raises(FalRequestInvalid):
            await client.upload(source, content_type="image/png", file_name="x.png")
    assert wire.seen == []


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file a little over the limit, sparse on disk, with marks so that a swapped part is seen."""
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        for number in range(11):
            file.seek(number * PART_SIZE)
            file.write(b"part %d" % (number + 1))
        file.truncate(MULTIPART_OVER + 5)
    return path


async def test_a_large_file_goes_up_in_parts(client: FalClient, wire: Wire, large: Path) -> None:
    """Over 100 MiB, ten-MiB parts arrive in any order, one is sent again, and the end lists them sorted."""
    access = f"{wire.url}/files/large.mp4"
    got: dict[int, tuple[int, str]] = {}

    def part(seen: Seen) -> Answer:
        number = int(seen.path.rpartition("/")[2])
        if number == 3 and number not in got:
            got[number] = (0, "")
            return Answer(503, b"busy")
        got[number] = (len(seen.body), hashlib.sha256(seen.body).hexdigest())
        # fal names the etag in a header, the JavaScript client reads it from the body: either will do.
        tag = f"etag-{number}"
        return answer({"partNumber": number, "etag": tag}) if number % 2 else Answer(200, b"", {"etag": tag})

    wire.on(TOKEN, token(base_url=wire.url))
    wire.on(PARTS, answer({"access_url": access, "uploadId": "up/1"}))
    for number in range(1, 12):
        wire.on(f"/files/large.mp4/multipart/up%2F1/{number}", part)
    complete = "/files/large.mp4/multipart/up%2F1/complete"
    wire.on(complete, answer({}))
    url = await client.upload(large, content_type="video/mp4", file_name="large.mp4")
    assert url == access
    with large.open("rb") as file:
        for number in range(1, 12):
            piece = file.read(PART_SIZE)
            assert got[number] == (len(piece), hashlib.sha256(piece).hexdigest())
    [end] = wire.calls(complete)
    assert end.json == {"parts": [{"partNumber": n, "etag": f"etag-{n}"} for n in range(1, 12)]}
    assert kinds(wire) == ["Key", *["Bearer"] * 14]


@pytest.mark.parametrize("access", ["https://evil.example/f", "http://localhost:1/f"])
async def test_parts_do_not_take_the_token_to_a_strange_host(
    client: FalClient, wire: Wire, large: Path, access: str
) -> None:
    """A reply cannot send the token elsewhere."""
    wire.on(TOKEN, token(base_url="https://evil.example"))
    wire.on(PARTS, answer({"access_url": access, "uploadId": "1"}))
    with pytest.raises(FalHostRefused):
        await client.upload(large, content_type="video/mp4", file_name="large.mp4")
    assert [one.path for one in wire.seen] == [TOKEN, PARTS]


@pytest.mark.parametrize("failure", [Answer(200), Answer(400, b"no"), answer({"etag": 5})])
async def test_a_part_without_an_etag_fails_the_upload(
    client: FalClient, wire: Wire, large: Path, failure: Answer
) -> None:
    """An upload whose part fal does not acknowledge is never completed."""
    wire.on(TOKEN, token())
    wire.on(PARTS, answer({"access_url": f"{wire.url}/files/l", "uploadId": "1"}))
    for number in range(1, 12):
        wire.on(f"/files/l/multipart/1/{number}", failure)
    wire.on("/files/l/multipart/1/complete", answer({}))
    with pytest.raises((FalUploadError, FalGateway)):
        await client.upload(large, content_type="video/mp4", file_name="large.mp4")
    assert not wire.calls("/files/l/multipart/1/complete")


@pytest.mark.parametrize(
    "reply", [answer({"token": ""}), answer({"token": "t", "expires_at": "soon"}), answer([]), answer({})]
)
async def test_an_unreadable_token_does_not_end_the_upload(
    client: FalClient, wire: Wire, reply: Answer
) -> None:
    """A token that makes no sense leads to the fallback, like one that never came."""
    wire.on(TOKEN, reply)
    wire.on(INITIATE, answer({"upload_url": f"{wire.url}/b", "file_url": "https://v3.fal.media/f"}))
    wire.on("/b", Answer(200))
    assert await client.upload(b"x", content_type="image/png", file_name="x") == "https://v3.fal.media/f"


async def test_a_naive_expiry_is_read_as_utc(client: FalClient, wire: Wire) -> None:
    """A token whose expiry names no time zone is not an error."""
    soon = (datetime.now(UTC) + timedelta(minutes=10)).replace(tzinfo=None).isoformat()
    wire.on(TOKEN, token(expires_at=soon))
    wire.on(UPLOAD, answer({"access_url": "https://v3.fal.media/f"}))
    for _ in range(2):
        await client.upload(b"x", content_type="image/png", file_name="x.png")
    assert len(wire.calls(TOKEN)) == 1


@pytest.mark.parametrize("gone", [True, False])
async def test_a_file_that_changes_under_the_upload_is_named(
    client: FalClient, wire: Wire, large: Path, gone: bool
) -> None:
    """A file that becomes shorter or vanishes while it goes up ends the upload with one clear error."""

    def start(seen: Seen) -> Answer:
        large.unlink() if gone else large.write_bytes(b"short")
        return answer({"access_url": f"{wire.url}/files/l", "uploadId": "1"})

    wire.on(TOKEN, token())
    wire.on(PARTS, start)
    with pytest.raises(FalRequestInvalid, match=str(large)):
        await client.upload(large, content_type="video/mp4", file_name="large.mp4")


async def test_upload_errors_are_fals_errors(client: FalClient, wire: Wire) -> None:
    """Whatever goes wrong is one error tree."""
    wire.on(TOKEN, Answer(end="reset"))
    with pytest.raises(FalError):
        await client.upload(b"x", content_type="image/png", file_name="x.png")
