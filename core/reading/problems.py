"""What is wrong with something that a person wrote: where, in words that say what would be right."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from prefect_ltx.fal import plain, storable


class Place(NamedTuple):
    """A place in a text, both counted from 1; of a table's row the column is the cell's number."""

    line: int
    column: int | None = None


Path = tuple[str | int, ...]
"""Where a value is in what was read: names of mappings and positions of lists, from the outside inwards."""


class Unreadable(Exception):
    """Something that cannot be read at all, in one line; nothing was sent or spent."""

    def __init__(self, what: str, place: Place | None = None) -> None:
        self.what, self.place = what, place
        at = f" (line {place.line}, column {place.column})" if place and place.column else ""
        super().__init__(plain(storable(f"{what}{at or (f' (line {place.line})' if place else '')}")))

    def __reduce__(self) -> tuple[type["Unreadable"], tuple[str, Place | None]]:
        return type(self), (self.what, self.place)


class Fault(NamedTuple):
    """One thing that is wrong with a value at a path."""

    path: Path
    what: str
    place: Place | None = None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `where` is a line of a file, a row of a list, or a part such as `defaults`."""

    where: str
    column: str
    """The field, or the table's column; empty where the whole row is meant."""
    what: str
    line: int | None = None
    """The line in the file, from 1, where it has lines."""
    character: int | None = None
    """The place in that line, from 1; in a table the number of the column."""

    def at(self, place: Place | None) -> Self:
        """The same with its place in the file."""
        return self if place is None else replace(self, line=place.line, character=place.column)

    def __str__(self) -> str:
        """For example `line 7, num_frames: Input should be less than or equal to 481`."""
        where = self.where
        if self.line is not None and where != f"line {self.line}":
            where = f"{where} (line {self.line})"
        place = f"{where}, {self.column}" if self.column else where
        return plain(storable(f"{place}: {self.what}"), limit=500)
