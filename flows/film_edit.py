"""A film as an editing timeline: from what the flow gave, to the file that an editor opens."""

from fractions import Fraction
from pathlib import Path

from prefect_ltx.film import ShotLineage, Timeline
from prefect_ltx.film.editorial import EditFilm, EditFinding, EditShot, EditSound, EditTake, write_timeline
from prefect_ltx.film.manifest import SoundLineage
from prefect_ltx.flows.film_result import ArchivedFilm, ShotTake
from prefect_ltx.media import frame_rate


def write_editing_timeline(film: ArchivedFilm, path: Path) -> Path:
    """Write a film's timeline as .otio, .edl or .fcpxml.

    Raises:
        TimelineUnwritable: an adapter is missing, or this form cannot hold the film.
    """
    return write_timeline(edit_film(film), path, film.archive)


def edit_film(film: ArchivedFilm) -> EditFilm:
    """What an editor gets of a film."""
    timeline = Timeline.of(
        Fraction(film.fps), [(shot.shot, shot.frames, shot.overlap) for shot in film.shots]
    )
    takes: dict[str, list[ShotTake]] = {}
    for take in film.takes:
        takes.setdefault(take.shot, []).append(take)
    return EditFilm(
        title=film.title,
        timeline=timeline,
        shots=[
            EditShot(
                span=span,
                title=shot.title,
                skip=shot.skipped_frames,
                takes=[_take(each) for each in takes[shot.shot]],
                metadata=_of_shot(shot),
            )
            for shot, span in zip(film.shots, timeline.spans, strict=True)
        ],
        music=_sound(film, film.music, "music") if film.music else None,
        voices=[_sound(film, each, f"voice of {each.shot}") for each in film.voices],
        metadata={
            "folder": film.folder,
            "archive": film.archive,
            "manifest_sha256": film.manifest_sha256,
            "subtitles": film.files.get("subtitles", ""),
            "film": film.video,
        },
    )


def _of_shot(shot: ShotLineage) -> dict[str, str]:
    found = {"generation_id": shot.generation_id, "manifest_sha256": shot.manifest_sha256}
    return found | ({"start_from": shot.start_from} if shot.start_from else {})


def _take(take: ShotTake) -> EditTake:
    return EditTake(
        number=take.number,
        seed=take.seed,
        key=take.key,
        frames=take.frames,
        fps=frame_rate(take.fps),
        audio=take.audio,
        chosen=take.chosen,
        findings=[EditFinding(**each) for each in take.findings],
    )


def _sound(film: ArchivedFilm, sound: SoundLineage, name: str) -> EditSound:
    how = sound.model_dump(
        include={"level", "fade_in", "fade_out", "duck", "loop", "shot"}, exclude_none=True
    )
    return EditSound(
        name=name, key=f"{film.folder}/{sound.file}", frame=sound.frame, seconds=sound.seconds, metadata=how
    )
