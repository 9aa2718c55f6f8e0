"""Uploads in every dialect, and files served as a CDN does."""

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import formatdate

import httpx
import pytest
from local_fal_helpers import Caller, until

from prefect_ltx.local import LocalFal

DATA = bytes(range(256)) * 40


def upload(caller: Caller, data: bytes = DATA, **headers: str) -> str:
    token = caller.post("/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    reply = caller.post(
        "/files/upload", content=data, headers={"authorization": f"Bearer {token['token']}", **headers}
    )
    assert reply.status_code == 200
    url: str = reply.json()["access_url"]
    return url


def test_the_token_path_gives_a_public_url(caller: Caller) -> None:
    """Token, upload, access_url; the name and type that were said are the file's."""
    token = caller.post("/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    assert token["token_type"] == "Bearer"
    assert datetime.fromisoformat(token["expires_at"]).tzinfo is not None
    url = upload(caller, **{"content-type": "video/mp4", "x-fal-file-name": "my clip.mp4"})
    reply = httpx.get(url)
    assert url.startswith(f"{caller.url}/files/")
    assert url.endswith("my_clip.mp4")
    assert reply.content == DATA
    assert reply.headers["content-type"] == "video/mp4"


def test_python_multipart_joins_parts_in_order_of_their_numbers(caller: Caller) -> None:
    """Parts are listed as they finished, in any order; etag comes as a header."""
    headers = {"content-type": "video/mp4", "x-fal-file-name": "big.mp4"}
    begun = caller.post("/files/upload/multipart", headers=headers).json()
    base = f"{begun['access_url']}/multipart/{begun['uploadId']}"
    parts = []
    for number in (3, 1, 2):
        reply = caller.put(f"{base}/{number}", content=str(number).encode() * 5)
        assert reply.json() == {"partNumber": number, "etag": reply.headers["etag"]}
        parts.append({"partNumber": number, "etag": reply.headers["etag"]})
    assert caller.get(begun["access_url"]).status_code == 404
    for _ in range(2):  # the Python client may say it again
        done = caller.post(f"{base}/complete", json={"parts": parts})
        assert (done.status_code, done.json()["access_url"]) == (200, begun["access_url"])
    assert caller.get(begun["access_url"]).content == b"111112222233333"


def test_a_multipart_upload_with_a_missing_part_is_not_completed(caller: Caller) -> None:
    """400, and nothing is served."""
    begun = caller.post("/files/upload/multipart").json()
    base = f"{begun['access_url']}/multipart/{begun['uploadId']}"
    caller.put(f"{base}/1", content=b"x")
    for parts in ([], [{"partNumber": 2, "etag": '"ab"'}], [{"partNumber": 1, "etag": '"../x"'}], "no", [1]):
        assert caller.post(f"{base}/complete", json={"parts": parts}).status_code == 400
    assert caller.get(begun["access_url"]).status_code == 404


@pytest.mark.parametrize("storage_type", ["gcs", "fal-cdn-v3"])
def test_initiate_gives_a_url_that_needs_no_key(storage_type: str) -> None:
    """The signed PUT works without any credentials, on a server that asks for a key elsewhere."""
    with LocalFal(renderer="stored-clip", key="me:secret") as fal, Caller(fal.url, "me:secret") as me:
        wish = {"file_name": "a.png", "content_type": "image/png"}
        begun = me.post(f"/storage/upload/initiate?storage_type={storage_type}", json=wish).json()
        assert httpx.get(begun["file_url"]).status_code == 404
        assert httpx.put(begun["upload_url"], content=DATA, headers={"content-type": "image/png"}).is_success
        reply = httpx.get(begun["file_url"])
        assert (reply.content, reply.headers["content-type"]) == (DATA, "image/png")
        forged = begun["upload_url"].replace("/signed-upload/e", "/signed-upload/f")
        assert httpx.put(forged, content=b"x").status_code == 401


def test_javascript_multipart_keeps_the_query_string(caller: Caller) -> None:
    """PUT {upload_url}/{n}?query and POST {upload_url}/complete?query, part numbers and etags in the body."""
    wish = {"file_name": "a.bin", "content_type": "application/octet-stream"}
    begun = caller.post("/storage/upload/initiate-multipart?storage_type=fal-cdn-v3", json=wish).json()
    path, _, query = begun["upload_url"].partition("?")
    assert query
    parts = [httpx.put(f"{path}/{n}?{query}", content=b"%d" % n).json() for n in (1, 2)]
    assert httpx.post(f"{path}/complete?{query}", json={"parts": parts}).is_success
    assert caller.get(begun["file_url"]).content == b"12"


@pytest.mark.parametrize("header", ["x-fal-object-lifecycle", "x-fal-object-lifecycle-preference"])
def test_a_file_is_gone_when_its_lifetime_is_over(caller: Caller, header: str) -> None:
    """expiration_duration_seconds of the upload."""
    url = upload(caller, **{header: '{"expiration_duration_seconds": 2}'})
    assert caller.get(url).status_code == 200
    until(lambda: caller.get(url).status_code == 404)


def test_a_cut_upload_leaves_no_file(fal: LocalFal, caller: Caller) -> None:
    """A client that stops half-way has uploaded nothing, and nothing stays on disk."""

    def halting() -> Iterator[bytes]:
        yield b"x" * 1000
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        caller.post("/files/upload", content=halting())
    until(lambda: not any((fal.data / "uploads").iterdir()))
    assert list((fal.data / "files").iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=10-", 206, (10, len(DATA))),
        ("bytes=-5", 206, (len(DATA) - 5, len(DATA))),
        ("bytes=0-", 206, (0, len(DATA))),
        (f"bytes=0-{len(DATA) * 2}", 206, (0, len(DATA))),
        ("bytes=9-3", 200, (0, len(DATA))),
        ("bytes=0-1,5-6", 200, (0, len(DATA))),
        ("bytes=x-", 200, (0, len(DATA))),
        ("lines=1-2", 200, (0, len(DATA))),
    ],
)
def test_a_range_is_served(caller: Caller, asked: str, status: int, span: tuple[int, int]) -> None:
    """One range gives 206 with Content-Range; what cannot be read as one gives the whole file."""
    url = upload(caller)
    reply = caller.get(url, headers={"range": asked})
    assert (reply.status_code, reply.content) == (status, DATA[slice(*span)])
    assert reply.headers["accept-ranges"] == "bytes"
    if status == 206:
        assert reply.headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/{len(DATA)}"


def test_a_range_past_the_end_cannot_be_served(caller: Caller) -> None:
    """416 with the size."""
    reply = caller.get(upload(caller), headers={"range": f"bytes={len(DATA)}-"})
    assert (reply.status_code, reply.headers["content-range"]) == (416, f"bytes */{len(DATA)}")


def test_if_range_guards_against_another_file(caller: Caller) -> None:
    """The right ETag or date gives the range, another the whole file."""
    url = upload(caller)
    etag = caller.http.head(url).headers["etag"]
    for condition, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        (formatdate(time.time() + 5, usegmt=True), 206),
        (formatdate(0, usegmt=True), 200),
        ("nonsense", 200),
    ):
        reply = caller.get(url, headers={"range": "bytes=0-1", "if-range": condition})
        assert reply.status_code == status, condition


def test_head_says_the_same_without_the_body(caller: Caller) -> None:
    """Length, type and a strong ETag that follows from the bytes."""
    first, second, other = upload(caller), upload(caller), upload(caller, b"other")
    heads = [caller.http.head(url) for url in (first, second, other)]
    assert heads[0].content == b""
    assert heads[0].headers["content-length"] == str(len(DATA))
    assert heads[0].headers["etag"] == heads[1].headers["etag"] != heads[2].headers["etag"]
    assert hashlib.sha256(DATA).hexdigest().startswith(heads[0].headers["etag"].strip('"'))


def test_a_file_that_is_known_already_is_not_sent_again(caller: Caller) -> None:
    """If-None-Match: 304."""
    url = upload(caller)
    etag = caller.http.head(url).headers["etag"]
    assert caller.get(url, headers={"if-none-match": f'"x", {etag}'}).status_code == 304


def test_a_content_type_cannot_break_a_header(caller: Caller) -> None:
    """What has no place in a header is left out."""
    wish = {"content_type": "video/mp4\r\nx-evil: 1\u20ac", "file_name": "../../x"}
    begun = caller.post("/storage/upload/initiate", json=wish).json()
    caller.put(begun["upload_url"], content=b"x")
    reply = caller.get(begun["file_url"])
    assert reply.headers["content-type"] == "video/mp4x-evil: 1"
    assert "x-evil" not in reply.headers


def test_an_empty_file_is_a_file(caller: Caller) -> None:
    """No bytes, 200."""
    reply = caller.get(upload(caller, b""))
    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize("path", ["/files/upload", "/files/upload/multipart", "/storage/upload/initiate"])
def test_an_upload_is_refused_on_demand(fal: LocalFal, caller: Caller, path: str) -> None:
    """refused_upload answers its value; refused_cdn_token is the token's own."""
    fal.faults.add("refused_upload", value=503)
    assert caller.post(path).status_code == 503
    assert caller.post(path).status_code == 200
    fal.faults.add("refused_cdn_token")
    assert caller.post("/storage/auth/token", json={}).status_code == 500
