import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fal_wire import Answer, Seen, Wire

from prefect_ltx.fal import FalClient, FalDownloadError, _growing_file

DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
FILE = "/files/video.mp4"
NO_LENGTH = {"content-length": ""}


def whole(**headers: str) -> Answer:
    return Answer(200, DATA, {"content-type": "video/mp4", "etag": '"v1"'} | headers)


def cut(at: int, data: bytes = DATA, end: str = "close", **headers: str) -> Answer:
    return Answer(200, data, {"etag": '"v1"'} | headers, at, end)


def serving_ranges(cuts: list[int], etag: str = '"v1"') -> Callable[[Seen], Answer]:
    """A server with Range and If-Range that breaks off after so many bytes, once for each of `cuts`."""

    def serve(seen: Seen) -> Answer:
        asked = seen.headers.get("range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest, headers = DATA[start:], {"etag": etag}
        if asked and seen.headers.get("if-range") == etag:
            headers["content-range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
            status = 206
        else:
            rest, status = DATA, 200
        return Answer(status, rest, headers, cuts.pop(0) if cuts else None)

    return serve


async def test_a_file_arrives_whole_under_its_name(client: FalClient, wire: Wire, tmp_path: Path) -> None:
    """Size, sha256 and type are those of the bytes on disk, progress reaches the end, the key stays home."""
    wire.on(FILE, whole())
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "folder" / "video.mp4"
    got = await client.download(
        f"{wire.url}{FILE}?sig=1", target, on_progress=lambda *at: seen.append(at), expected_size=len(DATA)
    )
    assert (got.path, got.size, got.sha256, got.content_type) == (target, len(DATA), SHA, "video/mp4")
    assert target.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert "authorization" not in wire.seen[0].headers
    assert wire.seen[0].query == {"sig": "1"}
    assert [one.name for one in target.parent.iterdir()] == ["video.mp4"]


async def test_a_broken_transfer_goes_on_where_it_broke(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """More breaks than attempts are survived, because each attempt gets further, and no byte comes twice."""
    wire.on(FILE, serving_ranges([40_000] * 6))
    got = await client.download(wire.url + FILE, tmp_path / "v.mp4")
    assert got.sha256 == SHA
    assert [one.headers.get("range") for one in wire.seen] == [
        None,
        *(f"bytes={40_000 * n}-" for n in range(1, 7)),
    ]


async def test_a_file_that_changed_is_started_over(client: FalClient, wire: Wire, tmp_path: Path) -> None:
    """If-Range keeps two versions of a file from being glued together."""
    other = os.urandom(len(DATA))
    wire.on(FILE, cut(100_000, other, etag='"old"'), serving_ranges([], etag='"new"'))
    assert (await client.download(wire.url + FILE, tmp_path / "v.mp4")).sha256 == SHA
    assert wire.seen[1].headers["if-range"] == '"old"'


@pytest.mark.parametrize("validator", [{}, {"etag": 'W/"weak"'}])
async def test_without_a_strong_validator_it_starts_over(
    client: FalClient, wire: Wire, tmp_path: Path, validator: dict[str, str]
) -> None:
    """Where the server cannot promise that it is the same file, no Range is asked for."""
    wire.on(FILE, Answer(200, DATA, validator, 100_000), Answer(200, DATA, validator))
    assert (await client.download(wire.url + FILE, tmp_path / "v.mp4")).sha256 == SHA
    assert "range" not in wire.seen[1].headers


async def test_a_part_from_the_wrong_place_is_not_used(client: FalClient, wire: Wire, tmp_path: Path) -> None:
    """A 206 that begins elsewhere makes the transfer start over."""
    # As long as what is missing, so that the length alone would not show it.
    wrong = Answer(206, DATA[:200_000], {"content-range": f"bytes 0-199999/{len(DATA)}"})
    wire.on(FILE, cut(100_000), wrong, whole())
    assert (await client.download(wire.url + FILE, tmp_path / "v.mp4")).sha256 == SHA


async def test_a_range_that_cannot_be_given_starts_over(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """416 to a resumed transfer is not the end of it."""
    wire.on(FILE, cut(100_000), Answer(416), whole())
    assert (await client.download(wire.url + FILE, tmp_path / "v.mp4")).sha256 == SHA


@pytest.mark.parametrize(
    "failure",
    [Answer(503, b"busy", {"retry-after": "0"}), Answer(429), Answer(end="silent"), Answer(end="reset")],
)
async def test_passing_failures_are_survived(
    client: FalClient, wire: Wire, tmp_path: Path, failure: Answer
) -> None:
    """A busy or broken server is asked again."""
    wire.on(FILE, failure, failure, failure, whole())
    assert (await client.download(wire.url + FILE, tmp_path / "v.mp4")).sha256 == SHA


@pytest.mark.parametrize(
    ("failure", "gone", "calls"),
    [
        (Answer(404), True, 1),
        (Answer(410), True, 1),
        (Answer(403), False, 1),
        (Answer(503), False, 4),
        (Answer(end="silent"), False, 4),
        (cut(1000, etag='W/"x"'), False, 4),
        (Answer(302, b"", {"location": "ftp://x.example/"}), False, 1),
        (Answer(302, b"", {"location": FILE}), False, 6),
        (Answer(302, b"", {"location": "http://[::"}), False, 4),
    ],
)
async def test_a_failed_download_leaves_nothing_behind(
    client: FalClient, wire: Wire, tmp_path: Path, failure: Answer, gone: bool, calls: int
) -> None:
    """What cannot be fetched whole is an error; an older file of that name stays, and no part remains."""
    wire.on(FILE, failure)
    target = tmp_path / "v.mp4"
    target.write_bytes(b"older")
    with pytest.raises(FalDownloadError) as caught:
        await client.download(f"{wire.url}{FILE}?sig=s3cr3t", target)
    assert caught.value.gone is gone
    assert "s3cr3t" not in str(caught.value)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("v.mp4", b"older")]
    assert len(wire.seen) == calls


@pytest.mark.parametrize("off", [1, -1, 10**6])
async def test_a_whole_file_beats_what_fals_result_said(
    client: FalClient, wire: Wire, tmp_path: Path, off: int
) -> None:
    """A wrong file_size does not lose a file that arrived whole; the contradiction is noted."""
    wire.on(FILE, whole())
    got = await client.download(wire.url + FILE, tmp_path / "v.mp4", expected_size=len(DATA) + off)
    assert got.sha256 == SHA
    assert got.oddities == (f"the file has {len(DATA)} bytes, fal's result said {len(DATA) + off}",)
    assert len(wire.seen) == 1


@pytest.mark.parametrize("expected_size", [1000, None])
async def test_a_file_that_never_ends_does_end(
    client: FalClient,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_size: int | None,
) -> None:
    """Without an announced length, a file may be little longer than fal said, or than any file is."""
    monkeypatch.setattr(_growing_file, "SLACK_BYTES", 1 << 20)
    monkeypatch.setattr(_growing_file, "UNANNOUNCED_BYTES", 1 << 20)
    wire.on(FILE, Answer(200, end="endless"))
    with pytest.raises(FalDownloadError, match="longer than"):
        await client.download(wire.url + FILE, tmp_path / "v.mp4", expected_size=expected_size)
    assert list(tmp_path.iterdir()) == []
    assert len(wire.seen) == 1


@pytest.mark.parametrize("length", [str(2**40), "9" * 18, "9" * 17])
async def test_a_file_that_announces_too_much_is_not_begun(
    client: FalClient, wire: Wire, tmp_path: Path, length: str
) -> None:
    """The file limit holds whatever the server announces."""
    wire.on(FILE, Answer(200, DATA, {"content-length": length}, cut=1000))
    with pytest.raises(FalDownloadError, match="the most that is taken"):
        await client.download(wire.url + FILE, tmp_path / "v.mp4", expected_size=len(DATA))
    assert list(tmp_path.iterdir()) == []


async def test_a_length_that_nobody_announces_is_believed_the_second_time(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """A close may be the end or a cut; the same length again is the file's own, and the difference is noted."""
    wire.on(FILE, Answer(200, DATA[:5000], NO_LENGTH, end="close"), Answer(200, DATA, NO_LENGTH, end="close"))
    got = await client.download(wire.url + FILE, tmp_path / "v.mp4", expected_size=len(DATA))
    assert (got.sha256, got.oddities) == (SHA, ())
    got = await client.download(wire.url + FILE, tmp_path / "v.mp4", expected_size=len(DATA) + 1)
    assert (got.sha256, len(got.oddities)) == (SHA, 1)
    assert len(wire.seen) == 4


async def test_redirects_are_followed_without_any_credential(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """A moved file is fetched from where it is."""
    wire.on("/old", Answer(307, b"", {"location": f"http://localhost:{wire.port}{FILE}?sig=1"}))
    wire.on(FILE, whole())
    assert (await client.download(wire.url + "/old", tmp_path / "v.mp4")).sha256 == SHA
    assert not any("authorization" in one.headers for one in wire.seen)


@pytest.mark.parametrize(
    ("uri", "content", "kind"),
    [
        ("data:video/mp4;base64," + base64.b64encode(DATA).decode(), DATA, "video/mp4"),
        ("DATA:video/mp4;charset=x;base64,AAEC", b"\x00\x01\x02", "video/mp4"),
        ("data:video/mp4;base64,AAEC%2B%2B%2B%2B", base64.b64decode("AAEC++++"), "video/mp4"),
        ("data:,a%20b", b"a b", None),
    ],
)
async def test_inline_media_become_files_too(
    client: FalClient, tmp_path: Path, uri: str, content: bytes, kind: str | None
) -> None:
    """The data URI of a sync_mode result is a file like any other."""
    got = await client.download(uri, tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == content
    assert (got.size, got.content_type) == (len(content), kind)
    assert got.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "uri", ["data:video/mp4;base64", "data:video/mp4;base64,A", "data:;base64,é", "ftp://x/y", "/x", ""]
)
async def test_what_is_no_url_is_refused(client: FalClient, tmp_path: Path, uri: str) -> None:
    """A broken data URI or another scheme is one clear error."""
    with pytest.raises(FalDownloadError):
        await client.download(uri, tmp_path / "v.mp4")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_written_is_an_error_of_its_own(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """A full or closed disk is named, and the server is not asked."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(FalDownloadError, match="cannot be written"):
        await client.download(wire.url + FILE, tmp_path / "file" / "v.mp4")
    assert wire.seen == []
