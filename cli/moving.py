"""`prefect-ltx ledger copy` and `archive copy`: the same records in another place. Sends and spends nothing."""

from typing import Annotated

import typer

from prefect_ltx.cli.frame import Output


def copy_ledger(
    output: Output,
    target: Annotated[str, typer.Argument(metavar="URL", help="SQLAlchemy URL of an empty database.")],
) -> bool:
    """Copy the ledger into an empty database, as from SQLite to PostgreSQL. Stop every worker first."""
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.ledger.moving import copy_ledger as copied
    from prefect_ltx.settings import Settings

    found = copied(Settings().ledger_url, target)
    output.result(
        {"ok": not found.wrong, "source": found.source, "target": found.target, "rows": found.rows},
        facts(
            {
                "copied from": found.source,
                "to": found.target,
                "generations": found.rows["ltx_generation"],
                "lines of history": found.rows["ltx_event"],
                "sums": "add up" if not found.wrong else f"{len(found.wrong)} DO NOT ADD UP",
                "next": "set PREFECT_LTX_LEDGER (and Generation Ledger blocks) to the new place everywhere, run "
                "`prefect-ltx doctor` and `prefect-ltx deploy`, then start the workers. Keep the old one as a backup, "
                "and let nothing use it.",
            }
        ),
    )
    return not found.wrong


async def copy_archive(
    output: Output,
    target: Annotated[str, typer.Argument(metavar="PLACE", help="A folder or s3://bucket/prefix.")],
) -> bool:
    """Copy the archive to another place, as from a folder to a bucket. Run again it copies what is missing."""
    from prefect_ltx.archive import Archive
    from prefect_ltx.archive.copying import copy_archive as copied
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.places import absolute
    from prefect_ltx.settings import Settings

    async with (
        Archive(Settings().archive_location) as source,
        Archive(absolute("archive", target, name="PLACE")) as new,
    ):
        found = await copied(source, new)
        checked = await new.verify()
    output.result(
        {"ok": checked.ok, **found.model_dump()},
        facts(
            {
                "copied from": found.source,
                "to": found.target,
                "files": found.files,
                "bytes": f"{found.bytes:,}",
                "there already": found.there_already or None,
                "verified": "every byte is as its manifest says"
                if checked.ok
                else "DAMAGED: `archive verify` says what",
                "next": "set PREFECT_LTX_ARCHIVE (and Video Archive blocks) to the new place everywhere, then run "
                "`prefect-ltx doctor` and `prefect-ltx deploy`.",
            }
        ),
    )
    return checked.ok
