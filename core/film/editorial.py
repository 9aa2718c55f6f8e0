"""Hand-over to editing: a film as an OpenTimelineIO timeline, and as EDL or FCPXML where its adapters can.

A shot is a clip whose media references are its takes; the one in the film is active. A cross-fade of N frames is a
dissolve whose cut lies in its middle, so the tracks are exactly as long as the film. What quality control found is a
marker on the frames where it is. Needs the extra `timeline` (OpenTimelineIO).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from prefect_ltx.film.errors import FilmError
from prefect_ltx.film.timeline import Span, Timeline

ADAPTERS: Final[Mapping[str, str]] = {".otio": "otio_json", ".edl": "cmx_3600", ".fcpxml": "fcpx_xml"}
"""File suffix to OpenTimelineIO's adapter."""
_OURS: Final = "prefect_ltx"


class TimelineUnwritable(FilmError):
    """A timeline cannot be written in this form; the film is archived all the same."""


@dataclass(frozen=True)
class EditFinding:
    """What was found in a take: its kind, what to say, and the frames of the take; none where it is all of it."""

    kind: str
    message: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class EditTake:
    """One take of a shot: where its video lies in the archive, and how many frames at which rate it has."""

    number: int
    seed: int
    key: str
    frames: int
    fps: Fraction
    audio: bool
    chosen: bool
    findings: Sequence[EditFinding] = ()


@dataclass(frozen=True)
class EditShot:
    """A shot in the film, with all of its takes; `skip` frames of the chosen one are left out at its start."""

    span: Span
    title: str
    skip: int
    takes: Sequence[EditTake]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EditSound:
    """Music or a voice: its file in the archive, from a frame of the film on, for so many seconds."""

    name: str
    key: str
    frame: int
    seconds: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EditFilm:
    """A film as an editor gets it."""

    title: str
    timeline: Timeline
    shots: Sequence[EditShot]
    music: EditSound | None = None
    voices: Sequence[EditSound] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def write_timeline(film: EditFilm, path: Path, archive: str) -> Path:
    """Write the timeline in the form that the suffix names, with links to the media in `archive`.

    Links are `file://` or `s3://` addresses; in a file that lies inside of an archive folder they are relative, so that
    the whole can be moved.

    Raises:
        TimelineUnwritable: OpenTimelineIO or an adapter is missing, or this form cannot hold the film.
    """
    adapter, otio = check_adapter(path), _otio()
    made = edit_timeline(film, links(archive, path), sound=adapter != "cmx_3600")
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        if adapter == "cmx_3600":
            # Its reels have eight characters, and it knows whole rates only.
            text = otio.adapters.write_to_string(
                made, adapter_name=adapter, rate=float(round(film.timeline.fps))
            )
            part.write_text(text, "utf-8")
        else:
            otio.adapters.write_to_file(made, str(part), adapter_name=adapter)
        part.replace(path)
    except Exception as error:  # each adapter has errors of its own
        raise TimelineUnwritable(
            f"{path.name}: {path.suffix[1:].upper()} cannot hold this film ({type(error).__name__}); .otio can"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def check_adapter(path: Path) -> str:
    """The name of the adapter that writes this file.

    Raises:
        TimelineUnwritable: no form of that name is known, or OpenTimelineIO or its adapter is missing.
    """
    adapter = ADAPTERS.get(path.suffix.lower())
    if adapter is None:
        raise TimelineUnwritable(f"{path.name}: the name of a timeline ends in {', '.join(ADAPTERS)}")
    if adapter not in _otio().adapters.available_adapter_names():
        raise TimelineUnwritable(
            f"{path.name}: OpenTimelineIO has no adapter {adapter} here: pip install 'prefect-ltx[timeline]'"
        )
    return adapter


def edit_timeline(film: EditFilm, link: Callable[[str], str], *, sound: bool = True) -> Any:
    """The film as `opentimelineio.schema.Timeline`; `link` gives the address of a file of the archive.

    Raises:
        TimelineUnwritable: OpenTimelineIO is missing.
    """
    otio = _otio()
    timeline = otio.schema.Timeline(name=film.title)
    timeline.metadata[_OURS] = dict(film.metadata)
    fps = film.timeline.fps
    kinds = [otio.schema.TrackKind.Video]
    if sound and any(take.audio for shot in film.shots for take in shot.takes if take.chosen):
        kinds.append(otio.schema.TrackKind.Audio)
    for kind in kinds:
        track = otio.schema.Track(name="Shots" if kind == "Video" else "Sound of the shots", kind=kind)
        for index, shot in enumerate(film.shots):
            after = film.shots[index + 1].span.overlap if index + 1 < len(film.shots) else 0
            if shot.span.overlap:
                into, out = _offsets(shot.span.overlap)
                track.append(
                    otio.schema.Transition(
                        name=f"cross-fade of {shot.span.overlap} frames",
                        transition_type=otio.schema.TransitionTypes.SMPTE_Dissolve,
                        in_offset=_time(otio, into, fps),
                        out_offset=_time(otio, out, fps),
                    )
                )
            track.append(_clip(otio, shot, after, fps, link, markers=kind == "Video"))
        timeline.tracks.append(track)
    if sound:
        for name, sounds in (("Music", [film.music] if film.music else []), ("Voices", film.voices)):
            for number, row in enumerate(_rows(sounds, film.timeline), 1):
                title = name if number == 1 else f"{name} {number}"
                timeline.tracks.append(_sounds(otio, title, row, film.timeline, link))
    return timeline


def links(archive: str, path: Path) -> Callable[[str], str]:
    """How the file at `path` names files of the archive, each by its key there."""
    if "://" in archive:
        base = archive.rstrip("/")
        return lambda key: f"{base}/{quote(key)}"
    root, folder = Path(archive).absolute(), path.absolute().parent
    if folder.is_relative_to(root):
        up = "../" * len(folder.relative_to(root).parts)
        return lambda key: f"{up}{quote(key)}"
    return lambda key: (root / key).as_uri()


def _otio() -> Any:
    try:
        import opentimelineio
    except ImportError:
        raise TimelineUnwritable(
            "a timeline is written with OpenTimelineIO, which is not installed: pip install 'prefect-ltx[timeline]'"
        ) from None
    return opentimelineio


def _offsets(overlap: int) -> tuple[int, int]:
    """How much of the shot before and of the shot after a cross-fade lies before and after the cut in its middle."""
    return overlap // 2, overlap - overlap // 2


def _time(otio: Any, frames: int | Fraction, fps: Fraction) -> Any:
    return otio.opentime.RationalTime(float(frames), float(fps))


def _range(otio: Any, start: int | Fraction, frames: int | Fraction, fps: Fraction) -> Any:
    return otio.opentime.TimeRange(_time(otio, start, fps), _time(otio, frames, fps))


def _clip(
    otio: Any, shot: EditShot, after: int, fps: Fraction, link: Callable[[str], str], *, markers: bool
) -> Any:
    head, tail = _offsets(shot.span.overlap)[0], _offsets(after)[1]
    references = {f"take {take.number}": _reference(otio, shot.span.shot, take, link) for take in shot.takes}
    chosen = next(take for take in shot.takes if take.chosen)
    clip = otio.schema.Clip(
        name=shot.span.shot, source_range=_range(otio, shot.skip + head, shot.span.frames - head - tail, fps)
    )
    clip.set_media_references(references, f"take {chosen.number}")
    clip.metadata[_OURS] = {"title": shot.title, "chosen_take": chosen.number, **shot.metadata}
    for finding in chosen.findings if markers else ():
        start = finding.start or 0
        frames = max(1, (finding.end if finding.end is not None else chosen.frames) - start)
        clip.markers.append(
            otio.schema.Marker(
                name=finding.message,
                marked_range=_range(otio, start, frames, chosen.fps),
                color=otio.schema.MarkerColor.RED,
                metadata={_OURS: {"finding": finding.kind}},
            )
        )
    return clip


def _reference(otio: Any, shot: str, take: EditTake, link: Callable[[str], str]) -> Any:
    reference = otio.schema.ExternalReference(
        target_url=link(take.key), available_range=_range(otio, 0, take.frames, take.fps)
    )
    # An EDL's reel is this name, and may hold no blank.
    reference.name = f"{shot}-take{take.number}"
    found = [f"{each.kind}: {each.message}" for each in take.findings]
    reference.metadata[_OURS] = {"seed": take.seed, "archive_key": take.key, "findings": found}
    return reference


def _rows(sounds: Sequence[EditSound], timeline: Timeline) -> list[list[EditSound]]:
    """The sounds on as few tracks as hold them without one upon the other."""
    rows: list[list[EditSound]] = []
    for sound in sorted(sounds, key=lambda each: each.frame):
        for row in rows:
            if row[-1].frame + _frames(row[-1], timeline) <= sound.frame:
                row.append(sound)
                break
        else:
            rows.append([sound])
    return rows


def _frames(sound: EditSound, timeline: Timeline) -> int:
    """As long as it is heard in the film, in whole frames."""
    return max(1, min(round(sound.seconds * timeline.fps), timeline.frames - sound.frame))


def _sounds(
    otio: Any, name: str, row: Sequence[EditSound], timeline: Timeline, link: Callable[[str], str]
) -> Any:
    fps, at = timeline.fps, 0
    track = otio.schema.Track(name=name, kind=otio.schema.TrackKind.Audio)
    for sound in row:
        if sound.frame > at:
            track.append(otio.schema.Gap(source_range=_range(otio, 0, sound.frame - at, fps)))
        frames = _frames(sound, timeline)
        clip = otio.schema.Clip(
            name=sound.name,
            source_range=_range(otio, 0, frames, fps),
            media_reference=otio.schema.ExternalReference(
                target_url=link(sound.key),
                available_range=_range(otio, 0, max(frames, round(sound.seconds * fps)), fps),
            ),
        )
        clip.metadata[_OURS] = dict(sound.metadata)
        track.append(clip)
        at = sound.frame + frames
    return track
