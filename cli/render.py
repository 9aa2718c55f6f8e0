"""`prefect-ltx archive render`: other renditions of what is archived, beside the old ones. Buys nothing."""

from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import Output, RecipeOption, complain
from prefect_ltx.cli.progress import say

if TYPE_CHECKING:
    from prefect_ltx.media import Recipe


async def render(
    output: Output,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER|ID]...", help="Only these, by folder or id; left out: all that have the tags."
        ),
    ] = None,
    recipe: RecipeOption = "social",
    tag: Annotated[
        list[str] | None, typer.Option(help="Only clips with this tag; may be repeated, all of them count.")
    ] = None,
) -> bool:
    """Make a recipe's renditions of archived clips, beside those that are there: nothing is overwritten or bought.

    They are an addition to a clip's manifest, which verify, gallery and rehydrate know. A clip that has them is passed
    over. Exit code 1 when one failed; the others are made all the same."""
    from prefect_ltx.cli.archive import open_archive
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.generation.options import signer_from
    from prefect_ltx.generation.render_archived import render_archived
    from prefect_ltx.settings import Settings

    chosen: str | Recipe = recipe
    if chosen == "none":
        raise typer.BadParameter("--recipe none makes no renditions.")
    settings = Settings()
    settings.require_home()
    async with open_archive() as archive:
        report = await render_archived(
            archive,
            chosen,
            work=settings.home / "work",
            tags=tag or (),
            names=names or (),
            signer=signer_from(settings),
            on_clip=lambda folder, done: say(f"{done}: {folder}"),
        )
    output.result(
        report,
        facts(
            {
                "archive": report.location,
                "recipe": report.recipe,
                "rendered": len(report.rendered),
                "files": sum(len(each.files) for each in report.rendered),
                "had them before": len(report.known) or None,
                "failed": len(report.failed) or None,
                "spent": "nothing",
                "seconds": f"{report.seconds:.1f}",
            }
        ),
    )
    for each in report.failed:
        complain(each)
    return report.ok
