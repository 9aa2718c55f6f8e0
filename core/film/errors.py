"""What can be wrong with a storyboard or with clips that are to be joined. Nothing in this room spends money.

FilmError
├── StoryboardInvalid    the storyboard cannot be filmed; one problem a line, by shot and field
└── FilmInvalid          these clips cannot be joined as asked
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect_ltx.fal import storable


class FilmError(Exception):
    """Base of both."""


class Problem(NamedTuple):
    """One thing that is wrong: where (`shots.2 (arrival)`), which field, in which line of the file, and what."""

    where: str
    field: str
    message: str
    line: int | None = None
    column: int | None = None
    """The place in that line, from 1."""

    def __str__(self) -> str:
        """`line 12: shots.2 (arrival): frames: must be 481 at most`."""
        place = ": ".join(part for part in (self.where, self.field) if part)
        line = f"line {self.line}: " if self.line is not None else ""
        return storable(f"{line}{place}: {self.message}" if place else f"{line}{self.message}")


class StoryboardInvalid(FilmError):
    """A storyboard that cannot be filmed; nothing was sent or spent. `problems` holds all that was found."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        """Name the storyboard and every problem in it."""
        self.name = name
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems" if len(self.problems) != 1 else "1 problem"
        told = "; ".join(str(each) for each in self.problems)
        super().__init__(f"{name}: {count}: {told}. Nothing was sent or spent.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts: Prefect sends errors between processes."""
        return type(self), (self.name, self.problems)


class FilmInvalid(FilmError):
    """Clips that cannot be joined as asked."""
