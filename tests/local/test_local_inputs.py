"""The media of a request: where it may come from, and what fal says about what cannot be used."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from local_fal_helpers import INGREDIENT, Caller

from prefect_ltx.local import LocalFal


@pytest.fixture(scope="module")
def server() -> Iterator[LocalFal]:
    """One rendering server for the whole file."""
    with LocalFal() as fal:
        yield fal


@pytest.fixture
def caller(server: LocalFal) -> Iterator[Caller]:
    with Caller(server.url) as calling:
        yield calling


def test_media_of_another_server_is_fetched(
    server: LocalFal, caller: Caller, video_body: dict[str, Any], clip_file: Path
) -> None:
    """Any http(s) URL; one that fails is a 422 that names the field."""
    with LocalFal() as other, Caller(other.url) as there:
        url = there.post("/files/upload", content=clip_file.read_bytes()).json()["access_url"]
        assert caller.generate(video_body | {"video_url": url}).status_code == 200
        missing = caller.generate(video_body | {"video_url": f"{other.url}/files/none"})
    gone = caller.generate(video_body | {"video_url": url})
    for reply in (missing, gone):
        entry = reply.json()["detail"][0]
        assert (reply.status_code, entry["type"], entry["loc"]) == (
            422,
            "file_download_error",
            ["body", "video_url"],
        )


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/etc/passwd", "file_download_error"),
        ("file:///etc/passwd", "file_download_error"),
        ("s3://bucket/key", "file_download_error"),
        ("data:video/mp4;base64,@@@", "file_download_error"),
        ("data:video/mp4;base64,", "file_download_error"),
        ("http://127.0.0.1:1/x.mp4", "file_download_error"),
        ("http://[bad/", "file_download_error"),
        ("data:text/plain;base64,aGVsbG8gd29ybGQ=", "unsupported_video_format"),
        ("data:,#EXTM3U%0Ahttp://127.0.0.1/x.ts", "unsupported_video_format"),
    ],
)
def test_bad_media_is_a_422_of_fals_kind(
    caller: Caller, video_body: dict[str, Any], url: str, kind: str
) -> None:
    """Nothing but http(s) and data is opened; what is no video is named."""
    reply = caller.generate(video_body | {"video_url": url})
    entry = reply.json()["detail"][0]
    assert (reply.status_code, entry["type"]) == (422, kind)
    assert entry["url"] == f"https://docs.fal.ai/errors/#{kind}"


def test_a_video_is_no_image_and_an_image_no_video(
    caller: Caller, video_body: dict[str, Any], sheet_body: dict[str, Any], sheet_file: Path
) -> None:
    """Each under its own error type, a damaged picture too."""
    clip, sheet = video_body["video_url"], sheet_body["image_url"]
    damaged = "data:image/png;base64," + base64.b64encode(sheet_file.read_bytes()[:300]).decode()
    as_video = caller.generate(video_body | {"video_url": sheet}).json()["detail"][0]
    assert as_video["type"] == "unsupported_video_format"
    assert "mp4" in as_video["ctx"]["supported_formats"]
    for url in (clip, damaged):
        entry = caller.generate(sheet_body | {"image_url": url}, INGREDIENT).json()["detail"][0]
        assert (entry["type"], entry["loc"]) == ("image_load_error", ["body", "image_url"])
        assert len(entry["input"]) <= 201


def test_other_formats_are_references_too(caller: Caller, tmp_path: Path, video_body: dict[str, Any]) -> None:
    """An animated GIF moves; a WebP or JPEG is an image."""
    gif = tmp_path / "a.gif"
    with av.open(str(gif), "w") as container:
        stream = container.add_stream("gif", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "rgb8"
        for shade in (0, 100, 200):
            frame = av.VideoFrame(64, 36, "rgb24")
            plane = frame.planes[0]
            plane.update(bytes([shade]) * (plane.line_size * 36))
            container.mux(stream.encode(frame.reformat(format="rgb8")))
        container.mux(stream.encode(None))
    url = "data:image/gif;base64," + base64.b64encode(gif.read_bytes()).decode()
    assert caller.generate(video_body | {"video_url": url}).status_code == 200


def test_an_upload_is_used_without_a_download(
    server: LocalFal, caller: Caller, video_body: dict[str, Any], clip_file: Path
) -> None:
    """The server finds its own file by path; nothing is fetched over HTTP, and the bytes are the same."""
    url = caller.post("/files/upload", content=clip_file.read_bytes()).json()["access_url"]
    before = len(server.log)
    first = caller.generate(video_body | {"video_url": url})
    assert not [entry for entry in server.log[before:] if entry[0] == "GET" and entry[1].startswith("/files")]
    second = caller.generate(video_body)
    clips = [httpx.get(result.json()["video"]["url"]).content for result in (first, second)]
    assert clips[0] == clips[1]
