"""What one entry of a recipe takes from the decoded clip, which graph makes it, and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect_ltx.media.info import MediaInfo
from prefect_ltx.media.loudness import Level
from prefect_ltx.media.shape import Shape


@dataclass(frozen=True)
class Expected:
    """A file that has to be there in the end, and what decoding it in full must show (None: not compared)."""

    name: str
    path: Path
    kind: Literal["video", "image", "animation", "audio", "playlist", "cues"]
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration: float | None = None
    audio: bool | None = None
    lufs: float | None = None
    text: str | None = None
    """The contents of a file that this program writes itself."""
    media: Path | None = None
    """The file that a playlist names."""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One output of ffmpeg.

    `make` gets the clip's pictures where `pictures` says so, the prepared audio where `sound` does, else None,
    and returns an output node. `steady` is its number of frames where they come evenly over the run, so that
    they tell how far the run is; `weight` says how much of the work it is.
    """

    pictures: bool
    sound: bool
    make: Callable[[Any, Any], Any]
    files: tuple[Expected, ...]
    weight: float = 0.0
    steady: int = 0
    copies: bool = False


@dataclass(frozen=True)
class Clip:
    """What every job is planned from; files are made in `folder`."""

    source: Path
    info: MediaInfo
    shape: Shape
    level: Level | None
    folder: Path
    may_copy: bool
    origin: Any
    """ffmpeg-python's input node of `source`."""

    @property
    def has_sound(self) -> bool:
        """Whether outputs get audio."""
        return self.shape.sound_seconds is not None

    @property
    def loud(self) -> float | None:
        """The loudness that audio must have in the end, in LUFS."""
        return self.level.target if self.level else None
