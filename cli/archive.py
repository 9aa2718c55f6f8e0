"""`prefect-ltx archive verify|gallery`: check every byte; build the page."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from prefect_ltx.cli.frame import Output, command

if TYPE_CHECKING:
    from prefect_ltx.archive import Archive


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(help="The archive: check every byte, build the gallery.", no_args_is_help=True)
    app.add_typer(group, name="archive")
    command(group, "verify")(verify)
    command(group, "gallery")(gallery)


async def verify(output: Output) -> bool:
    """Hash every archived file again and compare it with its manifest. Exit code 1 when one differs."""
    from prefect_ltx.cli.tables import facts

    archive = _open()
    try:
        report = await archive.verify()
    finally:
        await archive.aclose()
    output.result(
        report,
        facts(
            {
                "archive": report.location,
                "generations": report.generations,
                "files": report.files,
                "bytes": f"{report.bytes:,}",
                "missing": report.missing,
                "altered": [each.key for each in report.altered],
                "unreadable": report.unreadable,
                "in no manifest": report.unlisted,
                "result": "every byte is as its manifest says" if report.ok else "DAMAGED",
            }
        ),
    )
    return report.ok


async def gallery(output: Output) -> None:
    """Build `index.html` at the archive's root from all manifests."""
    from prefect_ltx.cli.tables import facts

    archive = _open()
    try:
        page = await archive.gallery()
    finally:
        await archive.aclose()
    output.result({"gallery": page}, facts({"gallery": page}))


def _open() -> "Archive":
    from prefect_ltx.archive import Archive
    from prefect_ltx.settings import Settings

    location = Settings().archive_location
    # A mistyped folder must not pass for an archive in which nothing is wrong.
    if "://" not in location and not Path(location).expanduser().is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such archive folder", location)
    return Archive(location)
