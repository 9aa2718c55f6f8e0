import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from prefect_ltx.media import (
    MediaInvalid,
    Progress,
    Rendition,
    generator,
    measure_loudness,
    probe,
    render_renditions,
    run_ffmpeg,
    sha256_file,
    target,
)
from prefect_ltx.media.graph import nowhere, source
from prefect_ltx.media.magic import WAV

MakeClip = Callable[..., Awaitable[Path]]

NAMES = {
    "poster": "poster.jpg",
    "contact_sheet": "contact_sheet.jpg",
    "web": "web.mp4",
    "preview": "preview.webp",
}


async def true_peak(path: Path) -> float:
    """In dBTP, to the hundredth, by another meter than the package's own, which rounds to a tenth."""
    run = await run_ffmpeg(nowhere(source(path).audio.filter("loudnorm", print_format="json")))
    (peak,) = re.findall(r'"input_tp" : "(\S+)"', "\n".join(run.log))
    return float(peak)


def by_name(renditions: list[Rendition]) -> dict[str, Rendition]:
    return {rendition.name: rendition for rendition in renditions}


async def test_the_web_recipe_gives_its_four_files_and_nothing_else(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    """Poster, contact sheet, web copy and preview, each as described, and no temporary file beside them."""
    out = tmp_path / "new" / "folder"
    found = by_name(await render_renditions(await make_clip(frames=49), out))
    assert {name: rendition.path.name for name, rendition in found.items()} == NAMES
    assert sorted(path.name for path in out.iterdir()) == sorted(NAMES.values())
    for rendition in found.values():
        assert rendition.sha256 == sha256_file(rendition.path)
        assert rendition.size == rendition.path.stat().st_size
        assert rendition.content_type == probe(rendition.path).content_type
    assert (found["poster"].facts["width"], found["poster"].facts["height"]) == (256, 144)
    assert len(found["contact_sheet"].facts["shown_frames"]) == 12
    assert found["web"].facts["frames"] == 49
    assert found["web"].facts["video"] == "copied"
    assert probe(found["preview"].path).frames > 10


async def test_a_clip_in_which_nothing_moves_has_a_preview_of_one_picture(tmp_path: Path) -> None:
    """libwebp writes equal pictures once: that is no damage, and no reason to lose a paid video."""
    still = target(generator("color=red:s=256x144:r=24"), path=tmp_path / "still.mp4", **{"frames:v": 24})
    await run_ffmpeg(still)
    found = by_name(await render_renditions(tmp_path / "still.mp4", tmp_path / "out"))
    assert probe(found["preview"].path).frames == 1


async def test_the_web_copy_starts_fast_and_carries_no_metadata(make_clip: MakeClip, tmp_path: Path) -> None:
    """The index comes before the media data, and what the source said about itself stays behind."""
    clip = await make_clip(**{"metadata:g:0": "comment=private words"})
    await render_renditions(clip, tmp_path / "out")
    data = (tmp_path / "out" / "web.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"private words" in clip.read_bytes()
    assert b"private words" not in data


@pytest.mark.parametrize(
    "tone",
    [
        "sine=f=330:r=48000",
        "aevalsrc=0.95*sin(2*PI*330*t):s=44100",
        "aevalsrc=0.3*sin(2*PI*330*t)|0.1*sin(2*PI*440*t):s=48000",
        "aevalsrc=0.03*sin(2*PI*220*t)+0.9*sin(2*PI*880*t)*lt(mod(t\\,1)\\,0.05):s=48000",
    ],
    ids=["quiet", "loud", "stereo", "peaks"],
)
async def test_the_web_copy_has_the_webs_loudness_and_the_sources_length(
    make_clip: MakeClip, tmp_path: Path, tone: str
) -> None:
    """Whatever it was, it comes out within 0.5 LU of -14 LUFS, at 48 kHz, and not a frame of sound longer."""
    clip = await make_clip(frames=97, audio=tone)
    await render_renditions(clip, tmp_path / "out")
    web = tmp_path / "out" / "web.mp4"
    measured, before, after = await measure_loudness(web), probe(clip).audio, probe(web).audio
    assert measured is not None
    assert before is not None
    assert after is not None
    assert measured.integrated == pytest.approx(-14, abs=0.5)
    assert await true_peak(web) < -1
    assert after.sample_rate == 48000
    assert after.layout == before.layout
    assert after.duration == pytest.approx(before.duration, abs=0.01)


@pytest.mark.parametrize("level", [-23.0, -33.0])
async def test_the_meter_agrees_with_the_ebus_own_cases(tmp_path: Path, level: float) -> None:
    """EBU Tech 3341, cases 1 and 2: a stereo sine of 1 kHz with peaks at -23 (-33) dBFS measures -23 (-33) LUFS."""
    wave = f"{10 ** (level / 20):.6f}*sin(2*PI*1000*t)"
    path = tmp_path / "sine.wav"
    await run_ffmpeg(target(generator(f"aevalsrc={wave}|{wave}:s=48000:d=20").audio, path=path))
    found = await measure_loudness(path, known=WAV)
    assert found is not None
    assert found.integrated == pytest.approx(level, abs=0.1)
    assert found.true_peak == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize("audio", ["anullsrc=r=48000:cl=stereo", None], ids=["silent", "none"])
async def test_silence_and_no_audio_are_kept_as_they_are(
    make_clip: MakeClip, tmp_path: Path, audio: str | None
) -> None:
    """Silence has no loudness to correct; a video without audio gets none."""
    clip = await make_clip(frames=25, audio=audio)
    found = by_name(await render_renditions(clip, tmp_path / "out"))
    assert (probe(found["web"].path).audio is None) == (audio is None)
    assert found["web"].facts["loudness_target_lufs"] is None


@pytest.mark.parametrize("frames", [1, 2, 9])
async def test_the_shortest_clips_work(make_clip: MakeClip, tmp_path: Path, frames: int) -> None:
    """Fewer frames than the sheet has cells, and sound too short for the meter."""
    clip = await make_clip(frames=frames, audio="sine=r=48000" if frames > 2 else None)
    found = by_name(await render_renditions(clip, tmp_path / "out"))
    assert found["contact_sheet"].facts["shown_frames"] == list(range(frames))
    assert probe(found["web"].path).frames == frames


async def test_what_browsers_cannot_play_is_encoded(make_clip: MakeClip, tmp_path: Path) -> None:
    """Another codec, another pixel format or an odd size becomes H.264 4:2:0, frame for frame."""
    vp8 = {"c:v": "libvpx", "c:a": "libopus", "deadline": "realtime", "format": "webm"}
    odd = {"pix_fmt": "yuv444p", "size": "255x143"}
    for clip in (await make_clip("a.webm", frames=17, **vp8), await make_clip("b.mp4", frames=17, **odd)):
        web = by_name(await render_renditions(clip, tmp_path / "out"))["web"]
        info = probe(web.path)
        assert web.facts["video"] == "encoded"
        assert (info.codec, info.pix_fmt, info.frames) == ("h264", "yuv420p", 17)
        assert (info.width % 2, info.height % 2) == (0, 0)


async def test_the_same_video_gives_the_same_bytes(make_clip: MakeClip, tmp_path: Path) -> None:
    """The archive is write-once, so making the renditions again after a crash must not change them."""
    for clip in (await make_clip(frames=25), await make_clip("e.mp4", frames=25, pix_fmt="yuv444p")):
        first = await render_renditions(clip, tmp_path / "one")
        second = await render_renditions(clip, tmp_path / "two")
        assert [r.sha256 for r in first] == [r.sha256 for r in second]


async def test_progress_ends_at_one_and_only_there(make_clip: MakeClip, tmp_path: Path) -> None:
    """The end is said once, after the renditions were verified."""
    seen: list[Progress] = []
    await render_renditions(await make_clip(frames=25), tmp_path / "out", on_progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions.count(1.0) == 1
    assert fractions[-1] == 1.0


async def test_a_damaged_source_gives_no_rendition(make_clip: MakeClip, tmp_path: Path) -> None:
    """ffmpeg makes outputs of half a video without complaint; they are not handed out."""
    clip = await make_clip(frames=49, movflags="+faststart")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(MediaInvalid, match=r"web\.mp4"):
        await render_renditions(clip, tmp_path / "out")


async def test_recipes_go_by_name(make_clip: MakeClip, tmp_path: Path) -> None:
    """`none` makes nothing, and an unknown recipe names those there are."""
    clip = await make_clip()
    assert await render_renditions(clip, tmp_path / "out", recipe="none") == []
    with pytest.raises(ValueError, match="web, social, broadcast, review, none"):
        await render_renditions(clip, tmp_path / "out", recipe="webb")
