from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import pytest

from prefect_ltx.media import MediaInvalid, frame_rate, generator, probe, run_ffmpeg, target

MakeClip = Callable[..., Awaitable[Path]]

PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://127.0.0.1:9/secret\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "dash": b"<?xml version='1.0'?><MPD></MPD>",
    "bom": b"\xef\xbb\xbf\r\n#EXTM3U\nfile:///etc/passwd\n",
}


@pytest.mark.parametrize(
    ("asked", "exact"),
    [("24", "24"), ("23.976", "24000/1001"), (29.97, "30000/1001"), (59.94, "60000/1001"), (12.5, "25/2")],
)
def test_frame_rates_are_exact(asked: str | float, exact: str) -> None:
    """A decimal that stands for an NTSC rate becomes that rate; any other stays what it is."""
    assert frame_rate(asked) == Fraction(exact)


@pytest.mark.parametrize("wrong", ["0", -24, 0.0])
def test_a_frame_rate_is_above_zero(wrong: str | float) -> None:
    """There is no video without time."""
    with pytest.raises(ValueError, match="above zero"):
        frame_rate(wrong)


async def test_a_video_is_described_exactly(make_clip: MakeClip) -> None:
    """Size, frame count, exact rate, duration and audio come from the file, in process."""
    path = await make_clip(fps="24000/1001", frames=17)
    found = probe(path)
    assert (found.kind, found.container, found.codec, found.pix_fmt) == ("video", "mp4", "h264", "yuv420p")
    assert (found.width, found.height, found.frames, found.fps) == (256, 144, 17, "24000/1001")
    assert found.frame_rate == Fraction(24000, 1001)
    assert found.duration == pytest.approx(17 * 1001 / 24000, abs=0.001)
    assert found.audio is not None
    assert (found.audio.codec, found.audio.sample_rate, found.audio.layout) == ("aac", 48000, "mono")
    assert found.size == path.stat().st_size


async def test_frames_are_counted_where_the_header_has_no_count(make_clip: MakeClip) -> None:
    """WebM and fragmented MP4 state no frame count; their packets are counted."""
    webm = {"c:v": "libvpx", "c:a": "libopus", "deadline": "realtime", "format": "webm"}
    assert probe(await make_clip("a.webm", frames=13, **webm)).frames == 13
    fragmented = await make_clip("b.mp4", frames=13, movflags="+frag_keyframe+empty_moov")
    assert probe(fragmented).frames == 13


async def test_a_clip_without_audio_says_so(make_clip: MakeClip) -> None:
    """No audio stream is None, not an empty one."""
    assert probe(await make_clip(audio=None)).audio is None


@pytest.mark.parametrize(
    ("name", "options", "content_type", "frames"),
    [
        ("a.png", {}, "image/png", 1),
        ("a.jpg", {}, "image/jpeg", 1),
        ("still.webp", {"c:v": "libwebp", "frames:v": 1}, "image/webp", 1),
        ("lossless.webp", {"c:v": "libwebp", "lossless": 1, "frames:v": 1}, "image/webp", 1),
        ("moving.webp", {"c:v": "libwebp_anim", "frames:v": 5}, "image/webp", 5),
        ("a.gif", {"frames:v": 5}, "image/gif", 5),
    ],
)
async def test_images_are_described(
    tmp_path: Path, name: str, options: dict[str, object], content_type: str, frames: int
) -> None:
    """Stills and animations are images, told from their bytes, with their canvas and number of frames."""
    # Noise, because the WebP encoder joins frames that look alike.
    frames_seen = generator("testsrc2=s=66x34").video.filter("noise", alls=90, allf="t")
    await run_ffmpeg(target(frames_seen, path=tmp_path / name, **options))
    found = probe(tmp_path / name)
    assert (found.kind, found.content_type) == ("image", content_type)
    assert (found.width, found.height, found.frames) == (66, 34, frames)


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_in_a_videos_clothes_is_refused(tmp_path: Path, kind: str) -> None:
    """The bytes decide what a file is, before any library opens it and follows what it names."""
    path = tmp_path / "video.mp4"
    path.write_bytes(PLAYLISTS[kind])
    with pytest.raises(MediaInvalid, match="playlist"):
        probe(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"hello world, this is text", "not an MP4"), (b"\0" * 5000, "not an MP4")],
)
def test_what_is_no_media_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    """Every refusal names the file and the reason in one line."""
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaInvalid, match=f"video.mp4: .*{reason}") as refused:
        probe(path)
    assert "\n" not in str(refused.value)


async def test_a_broken_header_is_refused(make_clip: MakeClip, tmp_path: Path) -> None:
    """A file that only begins like a video is not one; nor is a missing file or a folder."""
    whole = (await make_clip()).read_bytes()
    (tmp_path / "stump.mp4").write_bytes(whole[:200])
    for path in (tmp_path / "stump.mp4", tmp_path / "none.mp4", tmp_path):
        with pytest.raises(MediaInvalid):
            probe(path)


async def test_an_audio_file_has_no_picture(tmp_path: Path) -> None:
    """An MP4 with audio only is refused as a video."""
    await run_ffmpeg(target(generator("sine=d=0.2").audio, path=tmp_path / "a.mp4"))
    with pytest.raises(MediaInvalid, match="no video stream"):
        probe(tmp_path / "a.mp4")
