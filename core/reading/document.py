"""What was read from JSON or YAML: the value, all that is wrong with it, and where each part of it stands."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_ltx.reading.problems import Fault, Path, Place, Unreadable

SEEDS: Final = frozenset({"seed", "seeds"})
_SHORTENED_FROM: Final = 1e11
"""Spreadsheets show whole numbers of 12 digits and more with an exponent, and lose the others on the way."""


@dataclass
class Document:
    """A value with its places. The value is to be used only where there are no `faults`."""

    value: Any
    faults: list[Fault] = field(default_factory=list)
    find_places: Callable[[], Mapping[Path, Place]] = dict
    _places: Mapping[Path, Place] | None = None

    def place(self, path: Path) -> Place | None:
        """Where a value stands, or the nearest thing around it that is written down."""
        if self._places is None:
            self._places = self.find_places()
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path)

    def told(self) -> Iterator[Fault]:
        """Every fault with its place."""
        for each in self.faults:
            yield each if each.place else each._replace(place=self.place(each.path))

    def refuse_faults(self) -> None:
        """For a reader that stops at the first of them.

        Raises:
            Unreadable: naming the field and the place.
        """
        for each in self.told():
            name = ".".join(map(str, each.path))
            raise Unreadable(f"{name}: {each.what}" if name else each.what, each.place)


def why_shortened(path: Path, text: str, value: float) -> str:
    """Why a number with an exponent cannot be a seed; empty where it can be."""
    if abs(value) < _SHORTENED_FROM or SEEDS.isdisjoint(path[-2:]):
        return ""
    return f"{text[:40]} is a number that a spreadsheet has shortened: write all of its digits"
