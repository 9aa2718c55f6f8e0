"""Hostile and broken media: a typed error each time, nothing fetched, nothing written elsewhere, no process left."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from media_hostile import HOSTILE

from prefect_ltx.media import (
    FfmpegFailed,
    Limits,
    MediaError,
    MediaInvalid,
    generator,
    probe,
    render_renditions,
    run_ffmpeg,
    source,
    target,
    verify_image,
    verify_video,
)

MakeClip = Callable[..., Awaitable[Path]]

TIGHT = Limits(wall_seconds=10, seconds=600, memory_bytes=4 * 1024**3, file_bytes=256 * 1024**2)
MOST_MEMORY = 400 * 1024  # kilobytes that any case may add to the peak of this process


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A fast-start clip of 49 frames to break."""
    path = tmp_path_factory.mktemp("whole") / "clip.mp4"
    streams = (generator("testsrc2=s=256x144:r=24").video, generator("sine=f=330:r=48000").audio)
    options = {"c:v": "libx264", "pix_fmt": "yuv420p", "frames:v": 49, "c:a": "aac", "t": 49 / 24}
    asyncio.run(run_ffmpeg(target(*streams, path=path, movflags="+faststart", **options)))
    return path.read_bytes()


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """An address on this machine, and what anybody sent to it."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                seen.append(b"connected")
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)


def children() -> set[int]:
    """Processes that this one started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(each) for each in (task / "children").read_text().split()}
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_media_end_in_a_typed_error_within_limits(
    tmp_path: Path, whole: bytes, listener: tuple[str, list[bytes]], case: str
) -> None:
    """Refused as a whole: no address opened, no file written, no process left, no great memory taken."""
    url, connections = listener
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    out.mkdir()
    bad = HOSTILE[case](work, whole, url)
    before, peak = children(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with asyncio.timeout(60):
        with pytest.raises(MediaError) as refused:
            await render_renditions(bad, out, limits=TIGHT, timeout=20)
        with pytest.raises(MediaError):
            await verify_video(bad, limits=TIGHT)
    assert "\n" not in str(refused.value)
    assert connections == []
    assert list(out.iterdir()) == []
    assert [path.name for path in work.iterdir()] in ([bad.name], [])
    assert [path.name for path in tmp_path.iterdir() if path not in (work, out)] == []
    assert children() <= before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MOST_MEMORY


@pytest.mark.parametrize("case", [name for name in HOSTILE if name.startswith(("a png ", "a jpeg", "a gif"))])
async def test_hostile_pictures_are_refused_as_pictures(tmp_path: Path, case: str) -> None:
    """What is checked as an image is held against the same limits, before a library opens it."""
    bad = HOSTILE[case](tmp_path, b"", "")
    for check in (probe, source):
        with pytest.raises(MediaInvalid, match="more than"):
            check(bad)
    with pytest.raises(MediaInvalid, match="more than"):
        await verify_image(bad)


def test_there_are_enough_hostile_cases() -> None:
    """The corpus does not shrink unseen."""
    assert len(HOSTILE) >= 50


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(file_bytes=1000), "bytes, more than the limit"),
        (Limits(pixels=1000), "pixels, more than the limit"),
        (Limits(frames=8), "more than 8 frames"),
        (Limits(decoded_pixels=100_000), "pixels together"),
        (Limits(seconds=0.1), "more than the limit of 0 s"),
        (Limits(streams=1), "2 streams"),
        (Limits(index_entries=5), "entries"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_limit_is_held(make_clip: MakeClip, limits: Limits, reason: str) -> None:
    """A sound video beyond any one limit is refused with that limit's name."""
    clip = await make_clip(frames=9)
    with pytest.raises(MediaInvalid, match=reason):
        probe(clip, limits=limits)
    probe(clip)


async def test_decoding_stops_when_its_time_is_over(make_clip: MakeClip) -> None:
    """A video that decodes for too long is refused, not waited for."""
    with pytest.raises(MediaInvalid, match="took longer"):
        await verify_video(await make_clip(frames=97), limits=Limits(wall_seconds=1e-6))


async def test_a_codec_that_is_not_allowed_is_refused(make_clip: MakeClip) -> None:
    """Only decoders on the list ever see a byte."""
    clip = await make_clip("a.mkv", frames=9, **{"c:v": "flv1", "format": "matroska"})
    with pytest.raises(MediaInvalid, match="'flv1' is not one"):
        probe(clip)


async def test_negative_and_late_time_stamps_are_rendered_or_refused(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Odd clocks are no reason to lose frames: every rendition has them all."""
    for name, offset in (("early.mkv", -1.5), ("late.mkv", 30)):
        clip = await make_clip(
            name, frames=25, format="matroska", output_ts_offset=offset, avoid_negative_ts="disabled"
        )
        found = await render_renditions(clip, tmp_path / name.split(".")[0])
        assert next(each for each in found if each.name == "web").facts["frames"] == 25


async def test_a_link_in_the_results_place_is_replaced_and_not_followed(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """What a link points to is never written to."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.write_text("mine")
    out.mkdir()
    (out / "web.mp4").symlink_to(outside)
    await render_renditions(await make_clip(frames=25), out)
    assert outside.read_text() == "mine"
    assert not (out / "web.mp4").is_symlink()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's bounds")
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(memory_bytes=64 * 1024**2), "."),
        (Limits(cpu_seconds=1), "SIGXCPU, its limit of CPU time"),
        (Limits(file_bytes=100_000), "SIGXFSZ|File too large"),
    ],
    ids=["memory", "cpu", "file"],
)
async def test_the_kernel_ends_an_ffmpeg_that_takes_too_much(
    tmp_path: Path, limits: Limits, reason: str
) -> None:
    """Memory, CPU time and written bytes are bounded from outside, and nothing stays behind."""
    frames = generator("testsrc2=s=1280x720:r=24").video.filter("noise", alls=80, allf="t")
    graph = target(frames, path=tmp_path / "a.mp4", **{"c:v": "libx264", "preset": "ultrafast"})
    with pytest.raises(FfmpegFailed, match=reason):
        await run_ffmpeg(graph, limits=limits, timeout=60)
    assert list(tmp_path.iterdir()) == []


ORPHAN = """
import asyncio, sys
from pathlib import Path
from prefect_ltx.media import generator, run_ffmpeg, target
frames = generator("testsrc2=s=256x144:r=24").video.filter("realtime")
graph = target(frames, path=Path(sys.argv[1]), **{"c:v": "libx264"})
asyncio.run(run_ffmpeg(graph))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's signal at a parent's death")
async def test_ffmpeg_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """A worker that gets SIGKILL can clean nothing up; the kernel does."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path / "a.mp4")])

    def started() -> list[int]:
        try:
            text = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
            return [pid for pid in map(int, text.split()) if "ffmpeg" in os.readlink(f"/proc/{pid}/exe")]
        except OSError:
            return []

    async with asyncio.timeout(60):
        while not (found := started()):
            await asyncio.sleep(0.02)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        while any(Path(f"/proc/{pid}/exe").exists() for pid in found):
            await asyncio.sleep(0.02)
