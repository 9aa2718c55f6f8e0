"""`prefect-ltx deploy`: blocks, deployments, schedules, triggers and automations on the Prefect server in use."""

from pathlib import Path
from typing import Annotated

import typer

from prefect_ltx.cli.frame import Output, command, complain


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "deploy")(deploy)


async def deploy(
    output: Output,
    pool: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Work pool; made as a process pool where it is missing. Left out: ltx, or where the runs go now.",
            show_default=False,
        ),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Deployments use the blocks of this name: fal Credentials, Generation Ledger, Video Archive, "
            "Spending Budget. Left out: the worker's environment, or what they use now.",
            show_default=False,
        ),
    ] = None,
    save_blocks: Annotated[
        bool,
        typer.Option(
            "--save-blocks",
            help="Save those blocks from this environment first (FAL_KEY, PREFECT_LTX_…).",
        ),
    ] = False,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE/NAME",
            help="Notification block for failures, low budgets and parked requests: slack-webhook/studio.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another prefect.yaml than the package's.", show_default=False),
    ] = None,
    automations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another automations.yaml.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; write nothing.")
    ] = False,
) -> bool:
    """Register blocks, deployments, schedules, triggers and automations with the Prefect server in use.

    Run again, it changes nothing. What people did on the server stays: schedules and automations switched on or
    off, pauses, and schedules, tags and default parameters of their own. Says where the runs keep the ledger, the
    archive and unfinished work; exit code 1 where that does not last, and then no schedule that collects is made.
    """
    if save_blocks and not blocks:
        raise typer.BadParameter("--save-blocks needs their name: --blocks NAME.")
    from prefect_ltx.cli.tables import grid
    from prefect_ltx.deployments import AUTOMATIONS_FILE, PREFECT_FILE
    from prefect_ltx.deployments.apply import DeployOptions
    from prefect_ltx.deployments.apply import deploy as deploy_to_server
    from prefect_ltx.deployments.automated import NEEDS_A_BLOCK

    report = await deploy_to_server(
        DeployOptions(
            pool=pool,
            blocks=blocks,
            save_blocks=save_blocks,
            notify=notify,
            prefect_file=file or PREFECT_FILE,
            automations_file=automations or AUTOMATIONS_FILE,
            dry_run=dry_run,
        )
    )
    rows = [
        (each.kind, each.name, each.what, "; ".join(filter(None, [", ".join(each.fields), each.note])))
        for each in report.entries
    ]
    pools = sorted({each.name for each in report.entries if each.kind == "work pool"})
    places = [(each.name, each.place or "not known here", each.source, each.note) for each in report.places]
    output.result(
        report,
        grid(("what", "name", "change", "detail"), rows),
        "",
        grid(("runs keep", "where", "by", ""), places),
        *(
            f"{name} holds a password and is in no job variables: give it to the workers, or use blocks."
            for name in report.not_written
        ),
        "",
        _summary(report.changed, dry_run=dry_run, server=report.server),
        *(f"A worker for it: prefect worker start --pool {each}" for each in pools),
        *([NOBODY_IS_TOLD] if any(NEEDS_A_BLOCK in each.note for each in report.entries) else []),
    )
    for each in report.refused:
        complain(
            f"The schedule {each}. It is left out, because its runs would lose what they collect or refuse to begin. "
            "Set PREFECT_LTX_HOME, or PREFECT_LTX_LEDGER and PREFECT_LTX_ARCHIVE, to places that last, or name blocks "
            "(--blocks NAME), and run this again."
        )
    return not report.refused


NOBODY_IS_TOLD = (
    "Nobody is told yet when a run fails, a budget runs low, spending stops or something needs a person: make a "
    "notification block in the Prefect UI (Blocks, such as Slack Webhook), then once: "
    "prefect-ltx deploy --notify slack-webhook/NAME"
)


def _summary(changed: int, *, dry_run: bool, server: str) -> str:
    if not changed:
        return f"Nothing to change on {server}: everything is unchanged."
    return f"{changed} {'would change' if dry_run else 'changed'} on {server}."
