import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from prefect_ltx.media import (
    MediaInvalid,
    generator,
    nowhere,
    probe,
    run_ffmpeg,
    source,
    target,
    verify_image,
    verify_video,
)

MakeClip = Callable[..., Awaitable[Path]]


async def test_a_whole_video_passes_with_its_decoded_frame_count(make_clip: MakeClip) -> None:
    """What is as asked comes back described, its frames counted by decoding."""
    path = await make_clip(frames=25, fps="30000/1001")
    found = await verify_video(path, width=256, height=144, frames=25, fps=29.97, audio=True)
    assert found == probe(path)


async def test_every_difference_is_named_at_once(make_clip: MakeClip) -> None:
    """One error lists all that differs from what was asked."""
    path = await make_clip()
    with pytest.raises(MediaInvalid) as refused:
        await verify_video(path, width=512, height=288, frames=17, fps=25, audio=False)
    assert len(refused.value.problems) == 5


async def test_a_fast_start_video_cut_in_half_is_refused(make_clip: MakeClip, tmp_path: Path) -> None:
    """It probes as whole and ffmpeg reads it with exit code 0; only decoding and counting tells."""
    whole = (await make_clip(frames=49, movflags="+faststart")).read_bytes()
    half = tmp_path / "half.mp4"
    half.write_bytes(whole[: len(whole) // 2])
    assert probe(half).frames == 49
    await run_ffmpeg(nowhere(source(half).video))
    with pytest.raises(MediaInvalid, match="of 49 frames"):
        await verify_video(half)


@pytest.mark.parametrize("damage", ["zeros", "noise", "end"])
async def test_damage_in_the_middle_is_refused(make_clip: MakeClip, tmp_path: Path, damage: str) -> None:
    """Bytes lost or changed inside the stream are found although the header is whole."""
    data = bytearray((await make_clip(frames=49, movflags="+faststart")).read_bytes())
    middle = len(data) // 2
    if damage == "zeros":
        data[middle : middle + 2000] = bytes(2000)
    elif damage == "noise":
        data[middle : middle + 2000] = random.Random(1).randbytes(2000)
    else:
        del data[-100:]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    with pytest.raises(MediaInvalid):
        await verify_video(bad)


async def test_audio_that_stops_early_is_refused(make_clip: MakeClip, tmp_path: Path) -> None:
    """The audio is decoded to its end as well."""
    path = await make_clip(frames=49, movflags="+faststart")
    data = path.read_bytes()
    path.write_bytes(data[:-1200])
    with pytest.raises(MediaInvalid, match=r"audio|damaged"):
        await verify_video(path)


async def test_an_image_is_not_a_video(tmp_path: Path) -> None:
    """Each kind is verified as itself."""
    await run_ffmpeg(target(generator("testsrc2=s=64x64").video, path=tmp_path / "a.png"))
    with pytest.raises(MediaInvalid, match="not a video"):
        await verify_video(tmp_path / "a.png")
    assert (await verify_image(tmp_path / "a.png", width=64, height=64)).frames == 1
    with pytest.raises(MediaInvalid, match="64x64 pixels, expected 65x64"):
        await verify_image(tmp_path / "a.png", width=65, height=64)


@pytest.mark.parametrize("suffix", ["png", "webp"])
async def test_a_cut_image_is_refused(tmp_path: Path, suffix: str) -> None:
    """Half a picture is no picture, still or moving."""
    path = tmp_path / f"a.{suffix}"
    options = {"c:v": "libwebp_anim", "frames:v": 4} if suffix == "webp" else {}
    await run_ffmpeg(target(generator("testsrc2=s=256x144").video, path=path, **options))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaInvalid):
        await verify_image(path)
