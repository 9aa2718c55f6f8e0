"""`prefect-ltx generate REQUEST.json`: one generation as a flow run, from plan to archive."""

from typing import Annotated, Any

import typer

from prefect_ltx.cli.frame import (
    EndpointOption,
    FrameRuleOption,
    MaxSeedsOption,
    Output,
    QualityOption,
    RecipeOption,
    RequestFile,
    command,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "generate")(generate)


async def generate(
    output: Output,
    request: RequestFile,
    endpoint: EndpointOption = None,
    recipe: RecipeOption = "web",
    tag: Annotated[list[str] | None, typer.Option(help="A tag for the ledger; may be repeated.")] = None,
    frame_rule: FrameRuleOption = "as_is",
    quality: QualityOption = "warn",
    max_seeds: MaxSeedsOption = 3,
) -> None:
    """One generation: upload, submit once, wait, collect, check, render, archive.

    A request that was paid for before is not paid for again: the archived video is given back.
    """
    from prefect_ltx.cli.request_file import read_payable_row

    row = read_payable_row(request, endpoint)
    parsed = row.request

    from prefect_ltx.cli import plain
    from prefect_ltx.cli.progress import quieten_prefect, say, shown
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest

    how: dict[str, Any] = {
        "recipe": recipe,
        "tags": [*(tag or []), *row.tags],
        "frame_rule": frame_rule,
        "quality": quality,
        "max_seeds": max_seeds,
    }
    with shown():
        if not plain.is_prefect_configured():
            say(plain.NOTICE)
            made = await plain.make(parsed, **how)
        else:
            quieten_prefect()
            from prefect_ltx.flows import ingredient_to_video, reference_video_to_video
            from prefect_ltx.flows.generate import request_to_video

            if type(parsed) is IngredientRequest:
                made = await ingredient_to_video(parsed, **how)
            elif type(parsed) is ReferenceVideoRequest:
                made = await reference_video_to_video(parsed, **how)
            else:
                made = await request_to_video(parsed, **how)
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
                "quality": [each.message for each in made.quality.findings] if made.quality else None,
                "refused before": [
                    f"seed {each.seed}, ${each.price_usd}: {'; '.join(each.reasons)}" for each in made.refused
                ],
                "reused": "yes: it was paid for before, nothing was sent" if made.reused else None,
            }
        ),
    )
