"""What can go wrong with a media file or with ffmpeg. Nothing in this room spends money.

MediaError
├── MediaInvalid     a file is not what it should be: wrong kind, damaged, other size or length
└── FfmpegFailed     ffmpeg is missing, ended with an error, or took too long
"""

from collections.abc import Sequence
from typing import Any


class MediaError(Exception):
    """Base of every error of `prefect_ltx.media`; its text is one line."""


class MediaInvalid(MediaError):
    """A file is not what it should be.

    `problems` holds one entry per difference found.
    """

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        """Name the file (without its folder) and each thing that is wrong with it."""
        self.name = name
        self.problems = tuple(problems)
        super().__init__(f"{name}: {'; '.join(self.problems)}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts: Prefect sends errors between processes."""
        return type(self), (self.name, self.problems)


class LoudnessMissed(MediaInvalid):
    """An encoder's result is not as loud as what it was given; `over` is by how many dB its peaks pass the limit."""

    def __init__(self, name: str, problems: Sequence[str], over: float = 0.0) -> None:
        """Say what was measured."""
        self.over = over
        super().__init__(name, problems)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts."""
        return type(self), (self.name, self.problems, self.over)


class FfmpegFailed(MediaError):
    """ffmpeg could not be run, or ran without giving what was asked. No output file was left behind."""

    def __init__(self, what: str, *, returncode: int | None = None, log: Sequence[str] = ()) -> None:
        """Say what failed; `log` is the end of ffmpeg's own log, for a report."""
        self.returncode = returncode
        self.log = tuple(log)
        super().__init__(what)
