"""The music, voices and subtitles of a film: looked at before anything is spent, and brought when it is joined."""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prefect_ltx.fal import FalRequestInvalid
from prefect_ltx.film import Problem, Storyboard, StoryboardInvalid, Timeline
from prefect_ltx.film.captions import font_for
from prefect_ltx.film.errors import FilmInvalid
from prefect_ltx.film.manifest import SoundLineage, SubtitlesLineage
from prefect_ltx.film.mix import NOTHING_ELSE, Mix, MusicTrack, VoiceTrack
from prefect_ltx.film.webvtt import Cue
from prefect_ltx.generation import Services
from prefect_ltx.generation.inputs import fetch_file
from prefect_ltx.media import MediaError, Rendition
from prefect_ltx.media.sound_file import SoundFile, bring_sound, read_sound

_KINDS: Final = {
    "wav": (".wav", "audio/wav"),
    "mp3": (".mp3", "audio/mpeg"),
    "flac": (".flac", "audio/flac"),
    "ogg": (".ogg", "audio/ogg"),
    "mp4": (".m4a", "audio/mp4"),
    "mov": (".mov", "video/quicktime"),
    "webm": (".webm", "video/webm"),
    "mkv": (".mkv", "video/x-matroska"),
    "ts": (".ts", "video/mp2t"),
    "avi": (".avi", "video/x-msvideo"),
}
"""A sound's container to its name's ending and content type; a video may be given for its sound."""


@dataclass(frozen=True)
class Additions:
    """What is laid into a film, and what its manifest says of that."""

    mix: Mix = NOTHING_ELSE
    cues: Sequence[Cue] = ()
    font: Path | None = None
    music: SoundLineage | None = None
    voices: list[SoundLineage] = field(default_factory=list)
    subtitles: SubtitlesLineage | None = None
    files: list[Rendition] = field(default_factory=list)
    """The sounds as they were given, for the film's folder: an editor needs them."""
    warnings: list[str] = field(default_factory=list)


async def check_additions(services: Services, board: Storyboard) -> None:
    """Look at every sound and font, wherever it lies.

    Raises:
        StoryboardInvalid: what cannot be used, each by its place; nothing was sent or spent.
    """
    problems: list[Problem] = []
    for where, name, source in _sources(board):
        try:
            file = await fetch_file(services, source)
            try:
                if name.endswith("font"):
                    await asyncio.to_thread(font_for, 100, 0.1, file.path)
                else:
                    await asyncio.to_thread(read_sound, file.path)
            finally:
                file.discard()
        except FalRequestInvalid as error:
            problems.append(Problem(where, name, error.what))
        except (MediaError, FilmInvalid) as error:
            problems.append(Problem(where, name, str(error).rstrip(".")))
    if problems:
        raise StoryboardInvalid(board.title, problems)


async def fetch_additions(
    services: Services, board: Storyboard, timeline: Timeline, folder: Path, stay: AsyncExitStack
) -> Additions:
    """Bring and decode them into `folder`, placed on the film's timeline; `stay` removes our copies.

    Raises:
        FalRequestInvalid: one is not there any more.
        MediaError: one cannot be decoded.
    """
    warnings: list[str] = []
    files: list[Rendition] = []

    async def brought(source: str, role: str) -> tuple[Path, SoundFile, dict[str, Any]]:
        file = await fetch_file(services, source)
        stay.callback(file.discard)
        found = await asyncio.to_thread(read_sound, file.path)
        path = await bring_sound(file.path, folder / f"{role}.mov")
        own = _KINDS[found.container]
        copy = folder / f"{role}{own[0]}"
        await asyncio.to_thread(shutil.copyfile, file.path, copy)
        facts = {"seconds": round(found.seconds, 6), "codec": found.codec}
        files.append(
            Rendition(
                name=role,
                path=copy,
                content_type=own[1],
                sha256=file.sha256,
                size=copy.stat().st_size,
                facts=facts,
            )
        )
        what = {"sha256": file.sha256, "name": file.name, "file": copy.name, "seconds": found.seconds}
        return path, found, what

    music, track = None, None
    if (asked := board.music) is not None:
        path, found, what = await brought(asked.file, "music")
        how = asked.model_dump(exclude={"file"})
        music = SoundLineage(**what, **how)
        track = MusicTrack(path=path, seconds=found.seconds, **how)
        if not asked.loop and found.seconds < timeline.duration:
            warnings.append(
                f"the music is {found.seconds:.1f} s long and the film {float(timeline.duration):.1f} s: it ends before"
            )
    voices: list[SoundLineage] = []
    tracks: list[VoiceTrack] = []
    for shot, span in zip(board.shots, timeline.spans, strict=True):
        if (voice := shot.voice_over) is None:
            continue
        path, found, what = await brought(voice.file, f"voice-{shot.id}")
        frame = min(span.start + voice.at, timeline.frames - 1)
        voices.append(SoundLineage(**what, level=voice.level, frame=frame, shot=shot.id))
        tracks.append(VoiceTrack(path=path, seconds=found.seconds, level=voice.level, frame=frame))
        if frame / timeline.fps + found.seconds > timeline.duration:
            warnings.append(f"shot {shot.id}: its voice-over goes on when the film ends, and is cut there")
    cues = [*film_cues(board, timeline)]
    font, font_sha256 = None, None
    if cues and board.subtitles.burn_in and board.subtitles.font is not None:
        file = await fetch_file(services, board.subtitles.font)
        stay.callback(file.discard)
        font, font_sha256 = file.path, file.sha256
    return Additions(
        mix=Mix(track, tracks),
        cues=cues,
        font=font,
        music=music,
        voices=voices,
        subtitles=SubtitlesLineage(
            language=board.subtitles.language,
            burnt_in=board.subtitles.burn_in,
            cues=[tuple(cue) for cue in cues],
            font_sha256=font_sha256,
        )
        if cues
        else None,
        files=files,
        warnings=warnings,
    )


def film_cues(board: Storyboard, timeline: Timeline) -> Iterator[Cue]:
    """The subtitles in frames of the film; what a clip came out too short for is left out."""
    for shot, span in zip(board.shots, timeline.spans, strict=True):
        for each in shot.subtitles:
            end = min(span.frames, each.until if each.until is not None else span.frames)
            if each.at < end:
                yield Cue(span.start + each.at, span.start + end, each.text)


def _sources(board: Storyboard) -> Iterator[tuple[str, str, str]]:
    if board.music is not None:
        yield "", "music.file", board.music.file
    if board.subtitles.font is not None:
        yield "", "subtitles.font", board.subtitles.font
    for number, shot in enumerate(board.shots, 1):
        if (voice := shot.voice_over) is not None:
            yield f"shot {number} ({shot.id})", "voice", voice.file
