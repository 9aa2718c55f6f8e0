"""Whatever people film: every clip of the corpus is verified, rendered and joined as what a player shows of it.

`make corpus` renders and joins all of them; otherwise one of each kind is, and all are verified.
"""

import os
from fractions import Fraction
from pathlib import Path

import pytest
from clips import CLIPS, FLASH, PATCHES, RATE, Awkward
from measures import Colour, beeps, colours, flashes, start, still_colours

from prefect_ltx.film import Clip, join_clips
from prefect_ltx.media import (
    AudioFile,
    ContactSheet,
    HlsVideo,
    Poster,
    Preview,
    ProxyVideo,
    Recipe,
    Scale,
    SocialVideo,
    Thumbnails,
    Trim,
    WebVideo,
    probe,
    render_renditions,
    verify_video,
)

FAST = "ultrafast"
EVERYTHING = Recipe(
    loudness=None,
    outputs=(
        WebVideo(preset=FAST, crf=8),
        HlsVideo(preset=FAST, crf=8, segment_seconds=0.5),
        ProxyVideo(preset=FAST, height=64),
        SocialVideo(preset=FAST, width=64, aspect="1:1"),
        SocialVideo(preset=FAST, width=64, aspect="4:5", fit="blur"),
        Poster(),
        ContactSheet(frames=4, width=48),
        Thumbnails(width=32),
        Preview(width=64),
        AudioFile(format="wav"),
    ),
)
CHANGED = Recipe(
    trim=Trim(start=0.45, end=1.2),
    frame_rate="25",
    scale=Scale(height=96),
    outputs=(WebVideo(preset=FAST, crf=8),),
)
TRIMMED = Recipe(
    trim=Trim(start=0.05, end=0.95),
    loudness=None,
    outputs=(WebVideo(preset="veryfast"), HlsVideo(preset="veryfast")),
)
FRAME = 1 / RATE
FULL = bool(os.environ.get("CORPUS"))
OFTEN = [
    "late-sound.mp4",
    "late-picture.mkv",
    "late.ts",
    "uneven.mkv",
    "uneven-turned.mp4",
    "edited.mp4",
    "below-zero.mkv",
    "fragment-a-frame.mp4",
    "still-first.mkv",
    "third-sound.mp4",
    "mirrored.mkv",
    "anamorphic-turned.mp4",
    "interlaced.mp4",
    "pq.mp4",
    "hlg.mp4",
    "wide.mp4",
    "full-range.mp4",
    "mpeg4.avi",
]
RENDERED = [clip for clip in CLIPS if FULL or clip.name in OFTEN]
JOINED = [clip for clip in CLIPS if FULL or clip.name in OFTEN[:16]]
SLACK = 6
TURNS = {
    "": lambda x, y: (x, y),
    "left": lambda x, y: (y, 1 - x),
    "right": lambda x, y: (1 - y, x),
    "over": lambda x, y: (1 - x, 1 - y),
    "mirrored": lambda x, y: (1 - x, y),
}


def spot(clip: Awkward, x: float, y: float) -> tuple[float, float]:
    """A spot of the plain picture, in pixels, as shares of what this clip shows."""
    return TURNS[clip.turned](x / 96, y / 64)


def patches(clip: Awkward) -> list[tuple[float, float]]:
    return [spot(clip, 24 + 16 * at, 48) for at in range(len(PATCHES))]


def check_colours(clip: Awkward, found: list[Colour]) -> None:
    if clip.colours:
        for seen, (name, wanted) in zip(found, PATCHES.items(), strict=True):
            assert max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) <= SLACK, (name, seen)


def check_sync(clip: Awkward, lit: list[float], heard: list[float], begin: float, end: float) -> None:
    """Each flash between two times has its beep, where that lies between them too and well before the sound's end."""
    assert lit
    if clip.lag is not None:
        due = [each for flash in lit if begin - 0.001 <= (each := flash + clip.lag) < end]
        late = [min((beep - each for beep in heard), key=abs) for each in due]
        assert due
        assert max(map(abs, late)) <= FRAME, late


async def test_every_clip_is_called_whole(corpus: Path) -> None:
    """What collection does with a delivery: none of them is damaged, and its frames and shape are those shown."""
    for clip in CLIPS:
        info = await verify_video(corpus / clip.name)
        assert info == probe(corpus / clip.name), clip.name
        assert clip.frames in (None, info.frames), clip.name
        aspect = clip.size[0] / clip.size[1]
        assert info.shown_size[0] / info.shown_size[1] == pytest.approx(aspect, rel=0.01), clip.name


@pytest.mark.parametrize("clip", RENDERED, ids=lambda clip: clip.name)
async def test_an_awkward_clip_is_what_a_player_shows(corpus: Path, tmp_path: Path, clip: Awkward) -> None:
    """It comes out of every kind of output with its frames, size, colours and lip-sync."""
    source = corpus / clip.name
    info = probe(source)
    made = {each.name: each for each in await render_renditions(source, tmp_path / "all", recipe=EVERYTHING)}
    assert set(made) >= {output.stem for output in EVERYTHING.outputs if output.kind != "audio" or info.audio}
    aspect = clip.size[0] / clip.size[1]
    spots, flash, sounds = patches(clip), spot(clip, 48, 16), min(info.duration, clip.sounds) - 0.05
    for name in ("web", "hls_media", "poster", "proxy_64p"):
        facts = made[name].facts
        # A percent, or what even sides cost.
        assert abs(facts["width"] - facts["height"] * aspect) <= max(1.0, 0.01 * facts["width"])
    for name in ("web", "hls_media"):
        path, lit = made[name].path, flashes(made[name].path, flash)
        assert made[name].facts["frames"] == info.frames
        assert lit[0] - start(path) == pytest.approx(clip.first, abs=1.01 * FRAME)
        check_colours(clip, colours(path, spots, start(path) + clip.first + FLASH + 2 * FRAME))
        check_sync(clip, lit, beeps(path), start(path), start(path) + sounds)
    check_colours(clip, still_colours(made["poster"].path, spots))
    (web,) = await render_renditions(source, tmp_path / "changed", recipe=CHANGED)
    kept = min(info.duration, 1.2) - 0.45
    assert (web.facts["frames"], web.facts["fps"]) == (pytest.approx(25 * kept, abs=2), "25")
    assert abs(web.facts["width"] - web.facts["height"] * aspect) <= max(1.0, 0.01 * web.facts["width"])
    check_sync(clip, flashes(web.path, flash), beeps(web.path), 0, min(sounds, 1.15) - 0.45)
    check_colours(clip, colours(web.path, spots, 0.3))


@pytest.mark.parametrize("name", ["uneven.mkv", "hole.mp4", "late-sound.mkv"])
async def test_a_trim_lasts_as_long_as_it_says(corpus: Path, tmp_path: Path, name: str) -> None:
    """Also where the last frame that is kept is shown for long: until the trim's end, and no longer."""
    made = {each.name: each for each in await render_renditions(corpus / name, tmp_path, recipe=TRIMMED)}
    assert probe(made["web"].path).duration == pytest.approx(0.9, abs=0.03)
    assert made["hls"].facts["duration"] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("first", range(0, len(JOINED), 8))
async def test_awkward_clips_are_joined(corpus: Path, tmp_path: Path, first: int) -> None:
    """A film of them has each with its own colours, aspect and lip-sync, one after the other."""
    plain, group = CLIPS[0], JOINED[first : first + 8]
    clips = [Clip(corpus / "S.mp4", "plain"), *(Clip(corpus / each.name, each.name) for each in group)]
    film = await join_clips(clips, tmp_path / "film.mp4", fps=Fraction(RATE), loudness=None)
    width, height = film.info.width, film.info.height
    heard = beeps(film.path)
    for clip, span in zip((plain, *group), film.timeline.spans, strict=True):
        begin, end = span.start / RATE, span.end / RATE
        scale = min(width / clip.size[0], height / clip.size[1])
        shown = clip.size[0] * scale / width, clip.size[1] * scale / height

        def placed(at: tuple[float, float], shown: tuple[float, float] = shown) -> tuple[float, float]:
            return 0.5 + (at[0] - 0.5) * shown[0], 0.5 + (at[1] - 0.5) * shown[1]

        spots = [placed(each) for each in patches(clip)]
        check_colours(clip, colours(film.path, spots, begin + clip.first + FLASH + 2 * FRAME))
        lit = [each for each in flashes(film.path, placed(spot(clip, 48, 16))) if begin <= each < end - FRAME]
        check_sync(clip, lit, heard, begin, begin + min(end - begin, clip.sounds) - 0.27)
