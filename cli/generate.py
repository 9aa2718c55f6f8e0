"""`prefect-ltx generate REQUEST.json`: one generation as a flow run, from plan to archive."""

from pathlib import Path
from typing import Annotated

import typer

from prefect_ltx.cli.frame import EndpointOption, FrameRuleOption, Output, RecipeOption, command


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "generate")(generate)


async def generate(
    output: Output,
    request: Annotated[Path, typer.Argument(metavar="REQUEST.json", help="A request, in fal's field names.")],
    endpoint: EndpointOption = None,
    recipe: RecipeOption = "web",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the ledger; may be repeated.")] = None,
    frame_rule: FrameRuleOption = "as_is",
) -> None:
    """One generation: upload, submit once, wait, collect, render, archive.

    A request that was paid for before is not paid for again: the archived video is given back.
    """
    from prefect_ltx.cli.request_file import read_request
    from prefect_ltx.settings import Settings

    parsed = read_request(request, endpoint)
    Settings().require_fal()

    from prefect_ltx.cli.progress import quieten_prefect, shown

    quieten_prefect()
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.fal import IngredientRequest
    from prefect_ltx.flows import ingredient_to_video, reference_video_to_video

    with shown():
        if isinstance(parsed, IngredientRequest):
            made = await ingredient_to_video(parsed, recipe=recipe, tags=tag, frame_rule=frame_rule)
        else:
            made = await reference_video_to_video(parsed, recipe=recipe, tags=tag, frame_rule=frame_rule)
    output.result(
        made,
        facts(
            {
                "video": made.video,
                "folder": made.folder,
                "manifest": made.manifest,
                "files": list(made.files),
                "seed": made.seed,
                "fal request": made.request_id,
                "generation": made.generation_id,
                "price": made.price_expected_usd,
                "billed": made.price_billed_usd,
                "differs from the request": made.differences,
                "reused": "yes: it was paid for before, nothing was sent" if made.reused else None,
            }
        ),
    )
