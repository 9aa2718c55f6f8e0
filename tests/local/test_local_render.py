"""The ffmpeg renderer: exactly what was asked for, the same bytes for the same seed, bad media refused."""

import asyncio
import base64
import hashlib
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from local_fal_helpers import APP, INGREDIENT, VIDEO, Caller

from prefect_ltx.local import STAND_IN, LocalFal
from prefect_ltx.media import probe
from prefect_ltx.media.verify import verify_video

ENDPOINTS = [VIDEO, INGREDIENT]


@pytest.fixture(scope="module")
def server() -> Any:
    """One rendering server for the whole file: its tests share nothing but the port."""
    with LocalFal() as fal:
        yield fal


@pytest.fixture
def caller(server: LocalFal) -> Any:
    server.faults.clear()
    with Caller(server.url) as calling:
        yield calling


def picture(path: Path, number: int) -> list[int]:
    """The mean red, green and blue of one frame."""
    with av.open(str(path)) as container:
        for at, frame in enumerate(container.decode(video=0)):
            if at == number:
                pixels = bytes(frame.reformat(8, 8, "rgb24").planes[0])
                stride = frame.reformat(8, 8, "rgb24").planes[0].line_size
                rows = [pixels[y * stride : y * stride + 24] for y in range(8)]
                return [sum(row[x] for row in rows for x in range(part, 24, 3)) // 64 for part in range(3)]
    raise AssertionError(f"no frame {number}")


def distance(one: list[int], other: list[int]) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("change", "size", "frames", "fps"),
    [
        ({}, (256, 144), 9, "24"),
        ({"num_frames": 10, "frames_per_second": 23.976}, (256, 144), 10, "24000/1001"),
        ({"frames_per_second": 12.5, "generate_audio": False}, (256, 144), 9, "25/2"),
        ({"frames_per_second": 59.94, "num_frames": 17}, (256, 144), 17, "60000/1001"),
        ({"frames_per_second": 1, "video_quality": "low"}, (256, 144), 9, "1"),
        ({"resolution": {"width": 255, "height": 143}, "video_write_mode": "small"}, (255, 143), 9, "24"),
        ({"resolution": {"width": 7, "height": 64}, "frames_per_second": 60}, (7, 64), 9, "60"),
        ({"resolution": {"width": 2, "height": 2}, "frames_per_second": 8.333}, (2, 2), 9, None),
        ({"resolution": "square"}, (512, 512), 9, "24"),
    ],
)
async def test_a_clip_is_exactly_what_was_asked(
    caller: Caller,
    tmp_path: Path,
    video_body: dict[str, Any],
    sheet_body: dict[str, Any],
    endpoint: str,
    change: dict[str, Any],
    size: tuple[int, int],
    frames: int,
    fps: str | None,
) -> None:
    """Size (odd ones too), frame count, frame rate and audio; it decodes to the last frame; H.264, AAC at 48 kHz."""
    body = (video_body if endpoint == VIDEO else sheet_body) | change
    result = await asyncio.to_thread(caller.generate, body, endpoint)
    assert result.status_code == 200, result.text
    path = caller.download(result, tmp_path / "clip.mp4")
    audio = body.get("generate_audio", True)
    info = await verify_video(path, width=size[0], height=size[1], frames=frames, audio=audio)
    rate = Fraction(fps) if fps else Fraction(str(body["frames_per_second"])).limit_denominator(1001)
    assert info.frame_rate == rate
    assert info.duration == pytest.approx(float(frames / rate), abs=1e-6)
    assert info.codec == "h264"
    assert info.pix_fmt == ("yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p")
    if audio:
        assert info.audio is not None
        assert (info.audio.codec, info.audio.sample_rate, info.audio.layout) == ("aac", 48000, "stereo")
        assert info.audio.duration == pytest.approx(float(frames / rate), abs=0.03)
    assert result.json()["video"]["file_size"] == path.stat().st_size
    pixels = size[0] * size[1] * frames
    assert result.headers["x-fal-billable-units"] == str(-(-pixels // 1_000_000))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_same_seed_gives_the_same_bytes(
    caller: Caller, video_body: dict[str, Any], sheet_body: dict[str, Any], endpoint: str
) -> None:
    """Another seed or another prompt gives others, in picture and sound."""
    body = video_body if endpoint == VIDEO else sheet_body

    def digest(**change: Any) -> str:
        url = caller.generate(body | change, endpoint).json()["video"]["url"]
        return hashlib.sha256(caller.get(url).content).hexdigest()

    assert digest() == digest()
    assert len({digest(), digest(seed=8), digest(prompt="another")}) == 3


def test_the_bytes_do_not_depend_on_the_number_of_cores(
    video_body: dict[str, Any], sheet_body: dict[str, Any]
) -> None:
    """x264 writes other bytes for another number of threads, so it gets one; filters do not care."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core only")
    digests = set()
    for cores in ({min(allowed)}, allowed):
        # Threads and processes inherit the affinity of the thread that starts them.
        os.sched_setaffinity(0, cores)
        try:
            with LocalFal() as fal, Caller(fal.url) as one:
                video = one.generate(video_body | {"video_write_mode": "balanced"})
                sheet = one.generate(sheet_body | {"reference_strength": 0.5}, INGREDIENT)
                urls = [result.json()["video"]["url"] for result in (video, sheet)]
                digests.add(hashlib.sha256(b"".join(one.get(url).content for url in urls)).hexdigest())
        finally:
            os.sched_setaffinity(0, allowed)
    assert len(digests) == 1


def test_quality_and_write_mode_change_the_size(caller: Caller, video_body: dict[str, Any]) -> None:
    """Higher quality is larger; a slower write mode is smaller."""

    def size(**change: Any) -> int:
        return int(caller.generate(video_body | change).json()["video"]["file_size"])

    qualities = [size(video_quality=quality) for quality in ("low", "medium", "high", "maximum")]
    assert qualities == sorted(qualities)
    assert len(set(qualities)) == 4
    assert size(video_write_mode="fast") > size(video_write_mode="balanced")


def test_auto_follows_the_reference_video(caller: Caller, tmp_path: Path, video_body: dict[str, Any]) -> None:
    """A 16:9 reference: the shorter side 512, floored to 64."""
    path = caller.download(caller.generate(video_body | {"resolution": "auto"}), tmp_path / "clip.mp4")
    assert (probe(path).width, probe(path).height) == (896, 512)


def test_the_reference_moves_in_the_clip(
    caller: Caller, tmp_path: Path, video_body: dict[str, Any], sheet_url: str
) -> None:
    """video_strength says how much of it is seen; at 0 only the backdrop is."""
    frames = {}
    for strength in (0, 0.3, 1):
        result = caller.generate(video_body | {"video_strength": strength, "generate_audio": False})
        frames[strength] = picture(caller.download(result, tmp_path / f"{strength}.mp4"), 4)
    assert distance(frames[1], frames[0]) > distance(frames[1], frames[0.3]) > 0


def test_an_image_opens_the_clip(caller: Caller, tmp_path: Path, video_body: dict[str, Any]) -> None:
    """image_url is the first frame, and fades into the rest."""
    red = tmp_path / "red.png"
    with av.open(str(red), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "rgb24"
        frame = av.VideoFrame(64, 36, "rgb24")
        plane = frame.planes[0]
        plane.update((b"\xff\x00\x00" * 64 + b"\x00" * (plane.line_size - 192)) * 36)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    url = "data:image/png;base64," + base64.b64encode(red.read_bytes()).decode()
    path = caller.download(caller.generate(video_body | {"image_url": url}), tmp_path / "clip.mp4")
    assert distance(picture(path, 0), [255, 0, 0]) < 12
    assert distance(picture(path, 8), [255, 0, 0]) > 50


def test_the_sheets_panels_are_seen_one_after_another(
    caller: Caller, tmp_path: Path, sheet_body: dict[str, Any]
) -> None:
    """Each of the four colours fills the frame once."""
    change = {"num_frames": 41, "generate_audio": False}
    path = caller.download(caller.generate(sheet_body | change, INGREDIENT), tmp_path / "clip.mp4")
    seen = [picture(path, number) for number in (2, 12, 22, 33)]
    wanted = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    # A drift of hue and the encoder move the colours a little.
    found = sorted(min(range(4), key=lambda at: distance(colour, wanted[at])) for colour in seen)
    assert found == [0, 1, 2, 3]


def test_the_strengths_change_what_is_seen_of_the_sheet(
    caller: Caller, tmp_path: Path, sheet_body: dict[str, Any]
) -> None:
    """reference_strength: how much of it. ingredient_strength: how strong its colours are."""

    def frame(**change: Any) -> list[int]:
        result = caller.generate(sheet_body | {"generate_audio": False, **change}, INGREDIENT)
        return picture(caller.download(result, tmp_path / "clip.mp4"), 1)

    full = frame()
    assert distance(full, frame(reference_strength=0.2)) > 20
    assert distance(full, frame(ingredient_strength=0.2)) > 20
    assert frame(reference_strength=2) is not None


def test_the_sheet_leaks_into_the_clip_on_demand(
    server: LocalFal, caller: Caller, tmp_path: Path, sheet_body: dict[str, Any], sheet_file: Path
) -> None:
    """sheet_lead_in: so many frames of the whole sheet, then the shot; only for ingredient."""
    server.faults.add("sheet_lead_in", value=3)
    path = caller.download(caller.generate(sheet_body, INGREDIENT), tmp_path / "clip.mp4")
    sheet = picture(sheet_file, 0)
    assert distance(picture(path, 2), sheet) < 25
    assert distance(picture(path, 3), sheet) > 40
    assert probe(path).frames == 9


def test_the_model_snaps_sizes_and_frames_on_demand(
    server: LocalFal, caller: Caller, tmp_path: Path, video_body: dict[str, Any]
) -> None:
    """Multiples of 64 and 8k+1, and what is delivered is what is billed."""
    server.faults.add("snap")
    body = video_body | {"resolution": {"width": 1000, "height": 200}, "num_frames": 24}
    result = caller.generate(body)
    info = probe(caller.download(result, tmp_path / "clip.mp4"))
    assert (info.width, info.height, info.frames) == (960, 192, 17)
    assert result.headers["x-fal-billable-units"] == "4"
    assert server.bill.charges[-1].units == 4


def test_a_clip_says_that_it_is_a_stand_in(
    caller: Caller, tmp_path: Path, video_body: dict[str, Any]
) -> None:
    """In its title and comment, in the log, and the log tells the seed and the progress."""
    request_id = caller.submit(video_body)["request_id"]
    lines = [line["message"] for line in caller.until(request_id)["logs"]]
    with av.open(str(caller.download(caller.result(request_id), tmp_path / "clip.mp4"))) as container:
        assert container.metadata["comment"] == container.metadata["title"] == STAND_IN
        assert "creation_time" not in container.metadata
    assert lines[0].startswith(STAND_IN)
    assert "Seed 7: 9 frames of 256x144 at 24 fps" in lines
    assert lines[-1].startswith("Done")
    assert "Rendering: 100 %" in lines


def test_a_cancelled_render_ends_ffmpeg(caller: Caller, video_body: dict[str, Any]) -> None:
    """Within a moment, unbilled, and its scratch is gone."""
    big = {"resolution": {"width": 3840, "height": 2160}, "num_frames": 481, "video_write_mode": "small"}
    request_id = caller.submit(video_body | big)["request_id"]
    while not any("Seed" in line["message"] for line in caller.status(request_id).get("logs") or []):
        time.sleep(0.02)
    time.sleep(0.3)
    assert caller.put(f"/{APP}/requests/{request_id}/cancel").status_code == 202
    assert caller.until(request_id, seconds=10)["error_type"] == "client_cancelled"
