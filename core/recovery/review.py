"""What a person chose and rejected on the gallery's page, read back from its file and kept in the ledger.

The page works without a server, so its choices arrive as a file. A choice counts for a clip that this archive holds
under the same generation, and stands over what the machine said. Reading a file twice has no effect, and neither has
one that is older than what was said since.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, computed_field

from prefect_ltx.archive import Archive, ArchiveError, ArchiveUnavailable
from prefect_ltx.fal.sendable import unsendable
from prefect_ltx.ledger import AsyncLedger, GenerationNotFound
from prefect_ltx.reading import Document, Unreadable, read_bytes, read_json, text_of

FILE: Final = "prefect-ltx choices"
_LARGEST: Final = 32 << 20
_MOST: Final = 100_000

Text = Annotated[str, Field(max_length=400)]
Name = Annotated[str, Field(min_length=1, max_length=900)]


class ChoicesUnreadable(Exception):
    """A file that holds no choices of the gallery. Nothing was changed, sent or spent."""


class ClipChoice(BaseModel):
    """What a person said of one clip on the page, and when by their clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generation_id: Name
    folder: Name
    verdict: Literal["chosen", "rejected"]
    reason: Text = ""
    said_at: AwareDatetime


class Choices(BaseModel):
    """The page's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Literal["prefect-ltx choices"]
    version: Literal[1]
    by: Annotated[str, Field(max_length=200)] = ""
    choices: Annotated[list[ClipChoice], Field(max_length=_MOST)]


class ReviewReport(BaseModel):
    """What was kept. `ok`: every choice is about a clip that the archive and the ledger have."""

    by: str
    noted: int = 0
    known: int = Field(default=0, description="Said before, or older than what was said since.")
    chosen: int = 0
    rejected: int = 0
    unknown: list[str] = Field(
        default_factory=list, description="Choices that count for nothing, with the reason."
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Nothing was left out."""
        return not self.unknown


def read_choices(file: str) -> Choices:
    """The choices in a file of the gallery's page.

    Raises:
        ChoicesUnreadable: it holds none; with the place of what is wrong.
    """
    try:
        found = read_json(text_of(read_bytes(file, most=_LARGEST).data))
        found.refuse_faults()
    except Unreadable as error:
        raise ChoicesUnreadable(f"{file}: {error}. Nothing was changed.") from None
    wrong = next(iter(unsendable(found.value)), None) if isinstance(found.value, dict) else ((), "no mapping")
    if wrong is not None:
        raise _unreadable(file, found, tuple(wrong[0]), str(wrong[1]))
    try:
        return Choices.model_validate(found.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _unreadable(file, found, first["loc"], first["msg"]) from None


async def review(
    archive: Archive, ledger: AsyncLedger, choices: Iterable[ClipChoice], *, by: str
) -> ReviewReport:
    """Keep choices in the ledger, each for the clip that the archive has in its folder.

    Raises:
        ArchiveUnavailable, LedgerError: nothing can be read or written now; what was kept before stays.
    """
    report = ReviewReport(by=by)
    for each in choices:
        if why := await _unknown(archive, each):
            report.unknown.append(f"{each.folder}: {why}")
            continue
        try:
            noted = await ledger.note_verdict(
                each.generation_id,
                each.verdict,
                source="person",
                by=by,
                reason=each.reason,
                said_at=each.said_at,
            )
        except GenerationNotFound:
            report.unknown.append(f"{each.folder}: the ledger has no generation {each.generation_id}")
            continue
        report.noted += noted
        report.known += not noted
        report.chosen += noted and each.verdict == "chosen"
        report.rejected += noted and each.verdict == "rejected"
    return report


async def _unknown(archive: Archive, choice: ClipChoice) -> str:
    """Why a choice is not about a clip of this archive; empty where it is."""
    try:
        manifest = await archive.manifest(choice.folder)
    except ArchiveUnavailable:
        raise
    except ArchiveError as error:
        return error.what
    if manifest is None:
        return "this archive has no such folder"
    if manifest.generation_id != choice.generation_id:
        return (
            f"this archive has generation {manifest.generation_id or '-'} there, not {choice.generation_id}"
        )
    return ""


def _unreadable(file: str, found: Document, path: tuple[Any, ...], what: str) -> ChoicesUnreadable:
    place = found.place(tuple(path))
    at = f" (line {place.line})" if place else ""
    name = ".".join(map(str, path))
    return ChoicesUnreadable(
        f"{file}{at}: {f'{name}: ' if name else ''}{what}. It is no file of the gallery's choices. Nothing was changed."
    )
