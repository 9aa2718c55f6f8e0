"""Only what is on the allow-lists is opened or decoded, by libav's own word and before anything runs."""

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av.logging
import pytest

from prefect_ltx.media import (
    FfmpegFailed,
    MediaInvalid,
    nowhere,
    probe,
    recipe_named,
    render_renditions,
    run_ffmpeg,
    source,
    verify_video,
)
from prefect_ltx.media.binary import ffmpeg_binary

MakeClip = Callable[..., Awaitable[Path]]
MKV: dict[str, Any] = {"format": "matroska", "audio": None}

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "magicyuv": ("a.mov", {"audio": None}),
    "cinepak": ("b.mov", {"audio": None, "pix_fmt": "rgb24"}),
    "utvideo": ("c.mkv", MKV),
    "ffvhuff": ("d.mkv", MKV),
    "huffyuv": ("e.mkv", {**MKV, "pix_fmt": "yuv422p"}),
    "asv1": ("f.mkv", MKV),
}


async def test_no_decoder_runs_that_is_not_allowed(make_clip: MakeClip) -> None:
    """A clip in a codec that is not read is refused by name, and libav itself refused to open its decoder."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.DEBUG)
    try:
        for codec, (name, options) in REFUSED.items():
            clip = await make_clip(name, frames=3, **{"c:v": codec}, **options)
            with av.logging.Capture() as log, pytest.raises(MediaInvalid, match=codec):
                probe(clip)
            assert any(f"Codec ({codec}) not on whitelist" in line for _, _, line in log), codec
    finally:
        av.logging.set_level(before)


async def test_a_second_stream_in_another_codec_is_never_decoded(make_clip: MakeClip, tmp_path: Path) -> None:
    """A clip whose first stream is read keeps working beside one that is not, and ffmpeg refuses to decode that one."""
    clip, other = await make_clip(frames=12), await make_clip("o.mkv", frames=12, **{"c:v": "utvideo"}, **MKV)
    both = tmp_path / "both.mkv"
    inputs = ["-i", str(clip), "-i", str(other), "-map", "0", "-map", "1", "-c", "copy"]
    subprocess.run([ffmpeg_binary(), "-v", "error", *inputs, str(both)], check=True)
    assert probe(both).codec == "h264"
    assert (await verify_video(both, frames=12)).frames == 12
    assert await render_renditions(both, tmp_path / "made", recipe=recipe_named("web"))
    with pytest.raises(FfmpegFailed, match=r"(?i)whitelist|decod"):
        await run_ffmpeg(nowhere(source(both)["v:1"]))


async def test_every_codec_that_is_read_passes_the_lists(make_clip: MakeClip) -> None:
    """Each video and audio codec that ffmpeg can write here and the project reads is still probed and verified."""
    video = {
        "libx264": "yuv420p", "libx265": "yuv420p", "libvpx": "yuv420p", "libvpx-vp9": "yuv420p", "mpeg4": "yuv420p",
        "libaom-av1": "yuv420p", "ffv1": "yuv420p", "prores_ks": "yuv422p10le", "mjpeg": "yuvj420p",
        "mpeg2video": "yuv420p", "mpeg1video": "yuv420p", "libtheora": "yuv420p", "png": "rgb24",
    }  # fmt: skip
    audio = ("aac", "ac3", "eac3", "alac", "flac", "mp2", "libmp3lame", "libopus", "libvorbis", "pcm_s16le")
    listing = subprocess.run([ffmpeg_binary(), "-v", "quiet", "-encoders"], capture_output=True, text=True)
    known = set(listing.stdout.split())
    tried = 0
    for codec, pixels in video.items():
        if codec in known:
            name = f"{codec}.mkv"
            clip = await make_clip(
                name, frames=25, size="64x64", **{"c:v": codec}, **{**MKV, "pix_fmt": pixels}
            )
            assert (await verify_video(clip)).frames == 25, codec
            tried += 1
    for codec in audio:
        if codec in known:
            name = f"a-{codec}.mkv"
            clip = await make_clip(name, frames=25, size="64x64", format="matroska", **{"c:a": codec})
            assert (await verify_video(clip)).audio, codec
            tried += 1
    assert tried >= 15
