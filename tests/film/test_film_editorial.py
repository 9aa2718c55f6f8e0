"""A film for an editor: opened again with OpenTimelineIO it has every frame, take, cross-fade, sound and finding."""

from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from prefect_ltx.film import Timeline
from prefect_ltx.film.editorial import (
    EditFilm,
    EditFinding,
    EditShot,
    EditSound,
    EditTake,
    TimelineUnwritable,
    write_timeline,
)

otio: Any = pytest.importorskip("opentimelineio", reason="the extra timeline")

LENGTHS = [("dusk", 25, 0), ("sail", 33, 6), ("swell_with-a-long-name", 17, 0), ("home", 25, 9)]
FINDING = EditFinding("black_frames", "4 black frames", 8, 12)


def made(fps: str = "24", *, skip: int = 0) -> EditFilm:
    timeline = Timeline.of(Fraction(fps), LENGTHS)
    return EditFilm(
        title='The "Lamp" / Keeper',
        timeline=timeline,
        shots=[
            EditShot(
                span=span,
                title=f"Shot {place}",
                skip=skip,
                takes=[
                    EditTake(
                        number=number,
                        seed=place * 10 + number,
                        key=f"2026/11/26/it's {span.shot} #{number}/video.mp4",
                        frames=span.frames + skip,
                        fps=Fraction(fps),
                        audio=True,
                        chosen=number == 2,
                        findings=[FINDING] if number == 2 and place == 1 else [],
                    )
                    for number in (1, 2, 3)
                ],
            )
            for place, span in enumerate(timeline.spans)
        ],
        music=EditSound("music", "films/x/music.mp3", 0, 2.0, {"level": -12}),
        voices=[
            EditSound("voice of dusk", "films/x/voice-dusk.wav", 4, 1.0),
            EditSound("voice of sail", "films/x/voice-sail.wav", 10, 0.5),
            EditSound("voice of home", "films/x/voice-home.wav", 70, 9.0),
        ],
    )


def keys(film: EditFilm) -> list[str]:
    found = [take.key for shot in film.shots for take in shot.takes]
    return [*found, *(sound.key for sound in (film.music, *film.voices) if sound)]


def archive(folder: Path, film: EditFilm) -> Path:
    root = folder / "an archive"
    for key in keys(film):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"x")
    return root


def urls(timeline: Any) -> list[str]:
    return [
        reference.target_url
        for clip in timeline.find_clips()
        for reference in clip.media_references().values()
    ]


@pytest.mark.parametrize("fps", ["24", "24000/1001", "25", "30000/1001", "60"])
@pytest.mark.parametrize("skip", [0, 5])
def test_it_opens_again_with_everything_in_it(tmp_path: Path, fps: str, skip: int) -> None:
    """Exact durations and places of every shot, takes as alternatives, dissolves, sounds, markers."""
    film = made(fps, skip=skip)
    path = write_timeline(film, tmp_path / "film.otio", str(archive(tmp_path, film)))
    back: Any = otio.adapters.read_from_file(str(path))
    assert back.name == film.title
    rate = float(film.timeline.fps)
    assert back.duration() == otio.opentime.RationalTime(film.timeline.frames, rate)
    video, sound, music, voices, more_voices = back.tracks
    assert [track.kind for track in back.tracks] == ["Video", "Audio", "Audio", "Audio", "Audio"]
    for track in (video, sound):
        clips = list(track.find_clips())
        assert [clip.name for clip in clips] == [span.shot for span in film.timeline.spans]
        dissolves = [each for each in track if isinstance(each, otio.schema.Transition)]
        assert [int((each.in_offset + each.out_offset).value) for each in dissolves] == [6, 9]
        for clip, span in zip(clips, film.timeline.spans, strict=True):
            # What is seen of a shot, its dissolves with it, is what the film has of it, frame for frame.
            seen = track.trimmed_range_of_child(clip)
            before, after = track.neighbors_of(clip)
            start, end = int(seen.start_time.value), int(seen.end_time_exclusive().value)
            head = clip.source_range.start_time.value
            if isinstance(before, otio.schema.Transition):
                start -= int(before.in_offset.value)
                head -= before.in_offset.value
            if isinstance(after, otio.schema.Transition):
                end += int(after.out_offset.value)
            assert (start, end, head) == (span.start, span.end, skip)
            assert set(clip.media_references()) == {"take 1", "take 2", "take 3"}
            assert clip.active_media_reference_key == "take 2"
            assert clip.media_reference.metadata["prefect_ltx"]["seed"] % 10 == 2
            assert clip.media_reference.available_range.duration.value == span.frames + skip
    marked = [(clip.name, marker) for clip in video.find_clips() for marker in clip.markers]
    ((name, marker),) = marked
    assert (name, marker.name, marker.metadata["prefect_ltx"]["finding"]) == (
        "sail",
        "4 black frames",
        "black_frames",
    )
    assert (marker.marked_range.start_time.value, marker.marked_range.duration.value) == (8, 4)
    (music_clip,) = music.find_clips()
    assert music_clip.metadata["prefect_ltx"]["level"] == -12
    places = {
        clip.name: int(track.trimmed_range_of_child(clip).start_time.value)
        for track in (voices, more_voices)
        for clip in track.find_clips()
    }
    assert places == {"voice of dusk": 4, "voice of sail": 10, "voice of home": 70}
    assert max(int(track.duration().value) for track in back.tracks) == film.timeline.frames


def test_links_resolve_from_a_folder_from_inside_the_archive_and_in_a_bucket(tmp_path: Path) -> None:
    """Beside the archive they are absolute; inside it they move with it; a bucket's name its objects."""
    film = made()
    root = archive(tmp_path, film)
    outside = write_timeline(film, tmp_path / "out" / "film.otio", str(root))
    found = urls(otio.adapters.read_from_file(str(outside)))
    assert {Path(unquote(urlsplit(url).path)) for url in found} == {root / key for key in keys(film)}
    assert all(url.startswith("file:///") for url in found)

    inside = write_timeline(film, root / "films" / "x" / "film.otio", str(root))
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    base = (moved / inside.relative_to(root)).as_uri()
    for url in urls(otio.adapters.read_from_file(str(moved / inside.relative_to(root)))):
        assert Path(unquote(urlsplit(urljoin(base, url)).path)).is_file(), url

    bucket = write_timeline(film, tmp_path / "bucket.otio", "s3://studio/clips/")
    found = urls(otio.adapters.read_from_file(str(bucket)))
    assert {unquote(url) for url in found} == {f"s3://studio/clips/{key}" for key in keys(film)}


def test_an_edl_has_the_cuts_and_dissolves(tmp_path: Path) -> None:
    """One line of eight-letter reels for each shot; opened again it is as long as the film."""
    film = made()
    path = write_timeline(film, tmp_path / "film.edl", str(archive(tmp_path, film)))
    text = path.read_text()
    assert [line.split()[3] for line in text.splitlines() if line[:3].isdigit()].count("D") == 2
    assert "* FROM CLIP NAME:  dusk" in text
    back: Any = otio.adapters.read_from_file(str(path), rate=24)
    assert int(back.duration().value) == film.timeline.frames
    assert [clip.name for clip in back.find_clips()] == [span.shot for span in film.timeline.spans]


def test_an_fcpxml_has_the_shots_and_sounds(tmp_path: Path) -> None:
    """Opened again it is as long as the film and names every file that is heard or seen in it."""
    film = made()
    root = archive(tmp_path, film)
    path = write_timeline(film, tmp_path / "film.fcpxml", str(root))
    back: Any = otio.adapters.read_from_file(str(path))
    assert int(back.duration().value) == film.timeline.frames
    text = path.read_text()
    assert all((root / key).as_uri().replace("'", "&apos;") in text or (root / key).as_uri() in text for key in (
        film.shots[0].takes[1].key, "films/x/music.mp3", "films/x/voice-home.wav"))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fps", "told"),
    [
        ("film.aaf", "24", "ends in .otio, .edl, .fcpxml"),
        ("film", "24", "ends in"),
        ("film.fcpxml", "24000/1001", "FCPXML cannot hold this film"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, fps: str, told: str
) -> None:
    """A form that nobody knows, or one that its adapter cannot: no half file is left."""
    with pytest.raises(TimelineUnwritable, match=told) as caught:
        write_timeline(made(fps), tmp_path / "out" / name, "/archive")
    assert "\n" not in str(caught.value)
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]
