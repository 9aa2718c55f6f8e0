"""Other renditions of what is archived, beside the old ones. Sends and buys nothing."""

from typing import Any, cast

from prefect.artifacts import acreate_markdown_artifact
from prefect.runtime import flow_run
from prefect.states import Completed

from prefect_ltx.archive import Archive
from prefect_ltx.blocks.archive import VideoArchive
from prefect_ltx.flows.forms import RecipeChoice, check_recipe
from prefect_ltx.flows.naming import in_markdown
from prefect_ltx.flows.parameters import flow
from prefect_ltx.generation.options import signer_from
from prefect_ltx.generation.render_archived import RenderReport, render_archived
from prefect_ltx.settings import Settings
from prefect_ltx.tasks.assets import asset_key, emit_asset
from prefect_ltx.tasks.context import flow_run_id, run_logger

ROWS_SHOWN = 100


def _run_name() -> str:
    given: dict[str, Any] = dict(flow_run.parameters)
    recipe = given.get("recipe", "social")
    name = (
        recipe
        if isinstance(recipe, str)
        else getattr(recipe, "name", None) or dict(recipe).get("name", "custom")
    )
    return f"{name} of {', '.join(given.get('tags') or ['everything archived'])}"[:100]


@flow(name="render-archive", flow_run_name=_run_name, persist_result=False)
async def render_archive(
    recipe: RecipeChoice = "social",
    tags: list[str] | None = None,
    names: list[str] | None = None,
    archive: str = "",
) -> RenderReport:
    """Make a recipe's renditions of archived clips, beside those that are there: nothing is overwritten or bought.

    They are an addition to each clip's manifest. A clip that has them is passed over, so the same run again makes only
    what is missing; one clip's failure ends no other's.

    Args:
        recipe: Which renditions to make: web, social, broadcast or review, or a recipe of your own.
        tags: Only clips with all of these tags; empty for all.
        names: Only these clips, by folder or id; empty for all.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.

    Raises:
        ValueError: no such recipe, or one without renditions.
        ArchiveError: the archive cannot be listed.
    """
    check_recipe(recipe)
    settings = Settings()
    settings.require_home()
    if archive:
        place = cast(VideoArchive, await VideoArchive.aload(archive)).get_archive()
    else:
        place = Archive(settings.archive_location)
    log = run_logger()
    async with place:
        report = await render_archived(
            place,
            recipe,
            work=settings.home / "work",
            tags=tags or (),
            names=names or (),
            signer=signer_from(settings),
            on_clip=lambda folder, done: log.info("%d: %s", done, folder),
        )
    for each in report.failed:
        log.error("%s", each)
    for clip in report.rendered:
        for role, address in clip.files.items():
            emit_asset(
                asset_key(place.location, clip.folder, address.rpartition(f"{clip.folder}/")[2]),
                name=f"{report.recipe}: {role}",
                made_from=[asset_key(place.location, clip.folder, "video.mp4")],
                metadata={"recipe": report.recipe, "role": role, "generation_id": clip.generation_id},
                once=f"{clip.addition} {role}",
                run_id=flow_run_id(),
            )
    await acreate_markdown_artifact(
        _markdown(report), key="ltx-render-archive", description=f"{headline(report)}; nothing was spent"
    )
    name = "Completed" if report.ok else "Incomplete"
    return Completed(name=name, message=headline(report), data=report)  # type: ignore[return-value]


def headline(report: RenderReport) -> str:
    """The report in one line."""
    failed = f", {len(report.failed)} failed" if report.failed else ""
    return (
        f"{report.recipe}: {len(report.rendered)} clips rendered, {len(report.known)} had it before{failed}"
    )


def _markdown(report: RenderReport) -> str:
    lines = [
        f"- {in_markdown(each.folder)}: {', '.join(map(in_markdown, each.files))}" for each in report.rendered
    ]
    failed = [f"- **failed**: {in_markdown(each)}" for each in report.failed]
    shown = [*failed, *lines][:ROWS_SHOWN]
    return "\n".join([f"**{headline(report)}.** Nothing was sent or bought.", "", *shown])
