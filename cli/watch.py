"""`prefect-ltx watch INBOX`: tell Prefect of every file that lands in a folder or bucket, without a schedule."""

from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import Output, command, complain, describe

if TYPE_CHECKING:
    from prefect_ltx.tasks.landed import WatchReport


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "watch", settings=False)(watch)


async def watch(
    output: Output,
    inbox: Annotated[str, typer.Argument(metavar="INBOX", help="A folder or s3://bucket/prefix.")],
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How often to look.")] = 30,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    settle: Annotated[
        float, typer.Option(min=0, max=600, metavar="SECONDS", help="How long a local file has to rest.")
    ] = 5,
    most: Annotated[int, typer.Option(min=1, max=1000, help="New files of one look.")] = 100,
) -> bool:
    """Raise `ltx.file.landed` in Prefect for each new video or request file; the deployments make what it asks for.

    Each version of a file is announced once, also with many watchers. Files stay where they are; what was told is
    recorded under `.ltx/` in the inbox. Spends nothing itself. Ctrl-C ends it; with --once the exit code is 1 when a
    file cannot be used.
    """
    import asyncio

    from prefect_ltx.cli.progress import quieten_prefect

    quieten_prefect()
    from prefect_ltx.tasks.landed import watch_once

    report = await watch_once(inbox, settle=settle, most=most)
    _show(output, report, always=once)
    if once:
        return not report.refused
    while True:
        await asyncio.sleep(0 if report.more else every)
        try:
            report = await watch_once(inbox, settle=settle, most=most)
        except (
            Exception
        ) as error:  # a server or a bucket that is away for a while; the next look has the files
            complain(describe(error))
            await asyncio.sleep(every)
            continue
        _show(output, report)


def _show(output: Output, report: "WatchReport", *, always: bool = False) -> None:
    """What is new since the last look; a look that found nothing new says nothing."""
    from prefect_ltx.cli.tables import grid

    new = [each for each in report.refused if each.new or always]
    if not (report.told or new or always):
        return
    output.result(
        report,
        grid(("file", "kind", "event"), [(each.name, each.kind, each.event) for each in report.told])
        if report.told
        else report.summary,
    )
    for each in new:
        complain(f"{each.name}: {each.problem}. Nothing was spent; the file stays where it is.")
