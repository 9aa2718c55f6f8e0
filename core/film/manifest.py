"""What a film was made of: its manifest, an archive manifest like any other, with the lineage of every shot.

The film's folder is named by what the film is made of, so the same film again is found and not made again.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from prefect_ltx.archive import Manifest, check_key

FILM_ENDPOINT: Final = "film"
_JOINING: Final = 1
"""Raised when the same clips are joined in another way, so that such a film is another one."""


class ShotLineage(BaseModel):
    """One shot of a film: which generation it came from, and where it stands; frames are the film's."""

    model_config = ConfigDict(extra="allow")

    shot: str
    title: str
    endpoint: str
    seed: int
    generation_id: str
    generation_key: str
    folder: str = Field(description="The generation's folder in the archive.")
    manifest_sha256: str = Field(description="Of the generation's manifest.json.")
    video_sha256: str = Field(description="Of the clip that was joined, as fal delivered it.")
    start_frame: int
    frames: int
    overlap: int = Field(description="Frames shared with the shot before; 0 is a cut.")
    skipped_frames: int = Field(default=0, description="Frames at the clip's start that were left out.")
    start_from: str | None = Field(
        default=None, description="The shot whose last frame is the first of this one, by its id."
    )
    start_picture_sha256: str | None = Field(default=None, description="Of that frame as it was sent.")


class SoundLineage(BaseModel):
    """Music or a voice of a film: which bytes, and how they were laid in; levels in dB, times in seconds or frames."""

    model_config = ConfigDict(extra="allow")

    sha256: str
    name: str
    file: str = Field(description="Its name in the film's folder.")
    seconds: float
    level: float
    frame: int = Field(default=0, description="Of the film, at which it begins.")
    shot: str | None = Field(default=None, description="The shot that a voice belongs to.")
    fade_in: float = 0
    fade_out: float = 0
    duck: float = Field(default=0, description="dB that music is lowered by under everything else.")
    loop: bool = False


class SubtitlesLineage(BaseModel):
    """A film's subtitles: (first frame, frame after the last, text) each, and whether they are on the picture."""

    model_config = ConfigDict(extra="allow")

    language: str
    burnt_in: bool
    cues: list[tuple[int, int, str]]
    font_sha256: str | None = None


class FilmLineage(BaseModel):
    """What the film is made of; `duration` is an exact fraction of seconds as text."""

    model_config = ConfigDict(extra="allow")

    title: str
    fps: str
    frames: int
    duration: str
    loudness_target_lufs: float | None
    loudness_before_lufs: float | None = None
    shots: list[ShotLineage]
    music: SoundLineage | None = None
    voices: list[SoundLineage] = Field(default_factory=list)
    subtitles: SubtitlesLineage | None = None


class FilmManifest(Manifest):
    """A film's manifest.json. Its prices are 0: what its shots cost stands in their own manifests."""

    film: FilmLineage


def film_key(
    title: str,
    fps: str,
    loudness: float | None,
    shots: Sequence[ShotLineage],
    *,
    music: SoundLineage | None = None,
    voices: Sequence[SoundLineage] = (),
    subtitles: SubtitlesLineage | None = None,
    hls: Sequence[dict[str, Any]] = (),
) -> str:
    """sha256 over everything that decides what the film is: the clips' bytes, order, transitions and titles, what is
    heard and written besides, and its HLS."""
    content: dict[str, Any] = {
        "joining": _JOINING,
        "title": title,
        "fps": fps,
        "loudness": None if loudness is None else float(loudness),
        "shots": [
            [each.title, each.video_sha256, each.generation_key, each.overlap, each.skipped_frames]
            for each in shots
        ],
    }
    # Only where there are any: films without them keep their folder.
    added = {
        "music": music.model_dump(mode="json", exclude={"name"}) if music else None,
        "voices": [each.model_dump(mode="json", exclude={"name"}) for each in voices],
        "subtitles": subtitles.model_dump(mode="json") if subtitles else None,
        "hls": list(hls),
    }
    content |= {name: value for name, value in added.items() if value}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def film_folder(title: str, key: str) -> str:
    """A film's folder, such as `films/the-lamp-0f3a…` (16 characters of the key)."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "film"
    return check_key(f"films/{slug}-{key[:16]}")
