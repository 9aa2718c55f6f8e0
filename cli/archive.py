"""`prefect-ltx archive verify|rehydrate|reproduce`: check every byte, fetch back, repeat."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import Output, command
from prefect_ltx.cli.moving import copy_archive
from prefect_ltx.cli.printing import can_move
from prefect_ltx.cli.render import render
from prefect_ltx.cli.review import gallery, review

if TYPE_CHECKING:
    from prefect_ltx.archive import Archive, VerifyProgress


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        help="The archive: check every byte, build the gallery, read back its choices, fetch back.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="archive")
    command(group, "verify")(verify)
    command(group, "gallery")(gallery)
    command(group, "review")(review)
    command(group, "render")(render)
    command(group, "rehydrate")(rehydrate)
    command(group, "reproduce")(reproduce)
    command(group, "copy")(copy_archive)


async def verify(output: Output) -> bool:
    """Hash every archived file again, and compare it and what it says of itself with its manifest.

    Exit code 1 when one differs."""
    from prefect_ltx.cli.tables import facts

    async with open_archive() as archive:
        with _bar("checking") as on_progress:
            report = await archive.verify(on_progress)
    output.result(
        report,
        facts(
            {
                "archive": report.location,
                "generations": report.generations,
                "additions": report.additions or None,
                "files": report.files,
                "bytes": f"{report.bytes:,}",
                "missing": report.missing,
                "altered": [each.key for each in report.altered],
                "unreadable": report.unreadable,
                "not what its manifest says": [
                    f"{each.key}: {', '.join(each.what)}" for each in report.contradicting
                ],
                "in no manifest": report.unlisted,
                "result": "every byte is as its manifest says" if report.ok else "DAMAGED",
            }
        ),
    )
    return report.ok


async def rehydrate(
    output: Output,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made when missing.")],
) -> bool:
    """Fetch everything back into a folder, each file checked by its sha256; what is there already stays."""
    from prefect_ltx.cli.tables import facts

    async with open_archive() as archive:
        with _bar("fetching") as on_progress:
            report = await archive.rehydrate(folder, on_progress)
    output.result(
        report,
        facts(
            {
                "archive": report.location,
                "folder": report.folder,
                "generations": report.generations,
                "additions": report.additions or None,
                "files": report.files,
                "bytes": f"{report.bytes:,}",
                "fetched now": report.fetched,
                "failed": report.failed,
                "result": "everything is here" if report.ok else "NOT EVERYTHING IS HERE",
            }
        ),
    )
    return report.ok


async def reproduce(
    output: Output,
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A generation's folder in the archive, or its id.")
    ],
    media: Annotated[
        list[Path] | None,
        typer.Option("--media", metavar="FILE", help="A media input; found by content, not by name."),
    ] = None,
) -> None:
    """Print the request that makes an archived video again, for `prefect-ltx generate`. Spends nothing."""
    from prefect_ltx.archive import ArchiveNotFound, fill_media
    from prefect_ltx.archive import reproduce as request_of

    async with open_archive() as archive:
        manifest = None if folder.isalnum() else await archive.manifest(folder)
        if manifest is None:
            found = [each async for each in archive.manifests() if each.generation_id.startswith(folder)]
            if len(found) != 1:
                raise ArchiveNotFound(
                    f"{len(found)} archived generations are called {folder!r}",
                    next_step="Give the folder of one, such as 2026/11/21/ingredient-0123456789abcdef",
                )
            manifest = found[0]
    request = request_of(manifest)
    if media:
        request = await fill_media(request, media)
    body = request.body()
    output.result(body, _text(body))


def _text(body: object) -> str:
    from pydantic_core import to_json
    from rich.markup import escape

    return escape(to_json(body, indent=2).decode())


@contextmanager
def _bar(what: str) -> "Iterator[Callable[[VerifyProgress], None] | None]":
    """A bar on stderr with bytes, speed and time left; nothing where nobody watches."""
    if not can_move():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        row = bars.add_task(what, total=None)

        def on_progress(step: "VerifyProgress") -> None:
            text = f"{what} {step.files} of {step.total_files} files"
            bars.update(row, description=text, total=step.total_bytes, completed=step.bytes)

        yield on_progress


def open_archive() -> "Archive":
    """The archive of the settings.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    from prefect_ltx.archive import Archive
    from prefect_ltx.settings import Settings

    location = Settings().archive_location
    # A mistyped folder must not pass for an archive in which nothing is wrong.
    if "://" not in location and not Path(location).is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such archive folder", location)
    return Archive(location)
