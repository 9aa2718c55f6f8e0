"""`prefect-ltx archive gallery|review`: the page with what its clips cost, and the choices that were made on it."""

from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import Output, complain
from prefect_ltx.cli.ledger_repair import opened, person

if TYPE_CHECKING:
    from prefect_ltx.archive import GalleryNotes

_GROUPS = 50


async def gallery(output: Output) -> bool:
    """Build `index.html` at the archive's root from all manifests, with what the ledger knows of their use and cost.

    Exit code 1 when a manifest cannot be read; it is named, and the others are shown."""
    from prefect_ltx.cli.archive import open_archive
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.media.thumbnail import thumbnail

    notes = _notes()
    async with open_archive() as archive:
        report = await archive.gallery_report(thumbnail, notes)
    said = {"gallery": report.page, "generations": report.generations, "skipped": report.skipped}
    output.result(said, facts(said))
    return report.ok


async def review(
    output: Output,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What “Save choices” on the gallery's page has saved.")
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who chose; else the name in the file, else you.")
    ] = "",
) -> bool:
    """Read back what was chosen and rejected on the gallery's page: it stands over the machine's word. Spends nothing.

    Exit code 1 when a choice is about a clip that the archive or the ledger does not have; the others count."""
    from prefect_ltx.cli.archive import open_archive
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.ledger import AsyncLedger
    from prefect_ltx.recovery import read_choices, review

    found = read_choices(file)
    with opened(read_only=False) as ledger:
        async with open_archive() as archive:
            report = await review(archive, AsyncLedger(ledger), found.choices, by=by or found.by or person())
    output.result(
        report,
        facts(
            {
                "by": report.by,
                "kept": report.noted,
                "chosen": report.chosen or None,
                "rejected": report.rejected or None,
                "known before": report.known or None,
                "next": "`prefect-ltx ledger spend --usable` counts with it, `prefect-ltx archive gallery` shows it",
            }
        ),
    )
    for each in report.unknown:
        complain(each)
    return report.ok


def _notes() -> "GalleryNotes | None":
    """What the ledger knows; None, with a line on stderr, where it cannot be read."""
    from prefect_ltx.archive import ClipCost, ClipNote, GalleryNotes
    from prefect_ltx.ledger import LedgerError, Usable

    def cost(group: "Usable") -> ClipCost:
        return ClipCost(
            name=group.name,
            attempts=group.attempts,
            usable=group.usable,
            usable_usd=group.usable_usd,
            unusable_usd=group.unusable_usd,
            usd_per_clip=group.usd_per_clip,
            usd_per_second=group.usd_per_second,
            why=dict(group.why.most_common()),
        )

    try:
        with opened() as ledger:
            judged = ledger.judged()
            (total,) = ledger.usable()
            groups = ledger.usable("prompt")
    except LedgerError as error:
        complain(f"The page shows no verdicts and no cost of usable clips: {error}")
        return None
    groups.sort(key=lambda each: each.usable_nano + each.unusable_nano, reverse=True)
    return GalleryNotes(
        clips={
            name: ClipNote(verdict=each.fate, words=_words(str(each.word or ""), each.fate, each.why))
            for name, each in judged.items()
        },
        total=cost(total),
        groups=[cost(each) for each in groups[:_GROUPS]],
    )


def _words(said: str, fate: str, why: str) -> str:
    # What nobody spoke against needs no banner on every card.
    return said or ("" if fate == "usable" else f"Not used: {why}")
