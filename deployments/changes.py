"""What a deployment run found and did, one entry for each thing on the Prefect server."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field, computed_field

Kind = Literal[
    "block type", "block", "work pool", "work queue", "deployment", "schedule", "trigger", "automation"
]
What = Literal["created", "updated", "unchanged", "removed", "left out"]


class DeployError(Exception):
    """The deployment cannot go on; the message says what to do. Running it again goes on where it stopped."""


class Change(BaseModel):
    """One thing on the Prefect server, and what became of it."""

    kind: Kind
    name: str
    what: What
    id: str | None = None
    fields: list[str] = Field(default_factory=list, description="What differed; never the values.")
    note: str = ""


class Place(BaseModel):
    """Where runs keep something that must last, who says so, and what is known against it."""

    name: str
    place: str = Field(description="Empty where it cannot be known from here.")
    source: str
    note: str = ""


class DeployReport(BaseModel):
    """Everything that was looked at, in the order in which it was applied."""

    server: str
    dry_run: bool
    entries: list[Change] = Field(default_factory=list)
    places: list[Place] = Field(
        default_factory=list, description="Of the runs that collect what was paid for."
    )
    refused: list[str] = Field(
        default_factory=list,
        description="Schedules left out because their runs would lose what they collect.",
    )

    not_written: list[str] = Field(
        default_factory=list,
        description="Settings of this shell that hold a password and are in no job variables.",
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def changed(self) -> int:
        """How many things were created, updated or removed, or would be."""
        return sum(each.what in ("created", "updated", "removed") for each in self.entries)

    def add(self, entries: Iterable[Change]) -> None:
        """Append entries."""
        self.entries.extend(entries)


def differing(desired: dict[str, object], found: dict[str, object]) -> list[str]:
    """The names of `desired` whose value is another in `found`, in the order of `desired`."""
    return [name for name, value in desired.items() if found.get(name) != value]
