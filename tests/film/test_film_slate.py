"""The animatic's slates: on every frame what an editor needs, and nothing of the film below them changed."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from film_parts import tone_clip
from PIL import ImageChops

from prefect_ltx.film import Clip, Timeline, join_clips
from prefect_ltx.film.slate import SlateText, burn_slates, slates, timecode

TEXTS = [
    SlateText("one", "The first", "a cup turns slowly on a table of dark wood while the rain falls outside"),
    SlateText("two", "two", "it falls", start_from="one"),
]
HOSTILE = SlateText("x", "':%{pts}", "\\ [in]drawtext=text=x; 100% {} $(touch x)", "y")


def timeline(fps: str = "24") -> Timeline:
    return Timeline.of(Fraction(fps), [("one", 12, 0), ("two", 14, 4)])


def test_every_frame_has_its_own_slate() -> None:
    """One for each frame of the film; the counter and the timecode make any two of them different."""
    made = [strip for strip, count in slates(timeline(), TEXTS, 256, 144) for _ in range(count)]
    assert len(made) == timeline().frames == 22
    assert {strip.size for strip in made} == {made[0].size}
    assert len({strip.tobytes() for strip in made}) == 22


@pytest.mark.parametrize(
    "other",
    [
        TEXTS[1]._replace(shot="three"),
        TEXTS[1]._replace(title="Another"),
        TEXTS[1]._replace(text="it stands"),
        TEXTS[1]._replace(start_from=None),
        TEXTS[1]._replace(start_from="zero"),
        HOSTILE,
    ],
)
def test_everything_that_is_said_is_seen(other: SlateText) -> None:
    """Id, title, text and the shot that it starts from: another one is another picture."""

    def last(text: SlateText) -> Any:
        return list(slates(timeline(), [TEXTS[0], text], 256, 144))[-1][0]

    assert ImageChops.difference(last(TEXTS[1]).convert("L"), last(other).convert("L")).getbbox() is not None


def test_long_texts_stay_inside() -> None:
    """A text of any length, a picture of any size: one strip, no taller than the frame is wide."""
    text = SlateText("i" * 60, "t" * 300, "w" * 500 + " word" * 500, "s" * 60)
    for width, height in ((64, 64), (256, 128), (1536, 896), (576, 1024)):
        ((strip, _), *_) = slates(Timeline.of(Fraction(24), [("a", 2, 0)]), [text], width, height)
        assert strip.width == width
        assert strip.height % 2 == 0


@pytest.mark.parametrize(
    ("frame", "fps", "shown"),
    [
        (0, "24", "00:00:00:00"),
        (47, "24", "00:00:01:23"),
        (24 * 3661, "24", "01:01:01:00"),
        (30, "30000/1001", "00:00:01:00"),
        (23, "24000/1001", "00:00:00:23"),
    ],
)
def test_timecode_counts_whole_frames(frame: int, fps: str, shown: str) -> None:
    """As an editor counts them, without drops."""
    assert timecode(frame, Fraction(fps)) == shown


@pytest.mark.parametrize("fps", ["24", "24000/1001"])
async def test_the_film_below_the_slates_is_unchanged(tmp_path: Path, fps: str) -> None:
    """Frames, sound and chapters stay; the lower part of every frame is what it was, the upper one is not."""
    clips = [
        Clip(await tone_clip(tmp_path / f"{n}.mp4", frames=f, fps=fps, size="256x144"), f"s{n}", overlap=o)
        for n, (f, o) in enumerate(((12, 0), (14, 4)))
    ]
    film = await join_clips(clips, tmp_path / "film.mp4", fps=Fraction(fps))
    out = await burn_slates(film.path, tmp_path / "it's 100%.mp4", timeline(fps), TEXTS)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0.mp4", "1.mp4", "film.mp4", "it's 100%.mp4"]
    found = []
    for path in (film.path, out):
        with av.open(str(path)) as container:
            assert len(container.chapters()) == 2
            assert len(container.streams.audio) == 1
            found.append([frame.to_image().convert("L") for frame in container.decode(video=0)])
    assert len(found[0]) == len(found[1]) == 22
    for before, after in zip(*found, strict=True):
        changed = ImageChops.difference(before, after).point(lambda value: 255 if value > 40 else 0).getbbox()
        assert changed is not None
        assert changed[3] <= 72
