"""The end of a batch's rows as a table in a file or a bucket. A table that cannot be written never costs the result."""

import asyncio
from pathlib import Path

from prefect_ltx.archive import Archive
from prefect_ltx.batch import RESULT_COLUMNS, BatchReport, result_rows
from prefect_ltx.reading import Unreadable, is_local, local_path
from prefect_ltx.table_files import (
    CONTENT_TYPES,
    TableFileInvalid,
    check_table_file,
    table_bytes,
    table_format,
    write_table,
)
from prefect_ltx.tasks.context import run_logger


def placed_report(report: str) -> str:
    """A report's place in absolute form, where a person wrote it: a run's own folder does not last."""
    return str(_path(report).absolute()) if report and is_local(report) else report


def check_report(report: str) -> None:
    """Refuse a place before anything is spent.

    Raises:
        TableFileInvalid: no table can be written there.
    """
    try:
        if not is_local(report):
            if not report.startswith("s3://") or "/" not in report.removeprefix("s3://"):
                raise TableFileInvalid(f"A report is a file or s3://bucket/key, and {report!r} is neither")
            table_format(report)
        elif not (path := _path(report)).is_absolute():
            raise TableFileInvalid(
                f"report {report!r} has no absolute path, and a run's own folder is deleted at its end"
            )
        else:
            check_table_file(path)
    except TableFileInvalid as error:
        raise TableFileInvalid(f"{error}. Nothing was sent or spent.") from None


async def write_report(archive: Archive, place: str, report: BatchReport) -> str:
    """Write the table, over an older one; what is wrong where that fails, else an empty text."""
    try:
        if is_local(place):
            await asyncio.to_thread(write_table, _path(place), RESULT_COLUMNS, result_rows(report))
            return ""
        suffix = table_format(place)
        data = await asyncio.to_thread(table_bytes, RESULT_COLUMNS, result_rows(report), suffix)
        folder, _, name = place.rpartition("/")
        async with archive.elsewhere(folder) as beside:
            await beside.put_bytes(name, data, content_type=CONTENT_TYPES[suffix], overwrite=True)
    except Exception as error:  # the videos are paid for and archived, whatever becomes of a table
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        run_logger().error(
            "The report %s could not be written: %s. Nothing is lost: the rows are in this run's table artifact, in "
            "the ledger and in the archive. Running the batch again makes only what is missing, and the report.",
            place,
            why,
        )
        return f"; its report could not be written: {why}"
    return ""


def _path(report: str) -> Path:
    try:
        return local_path(report)
    except Unreadable as error:
        raise TableFileInvalid(f"That is no place for a report: {error.what}") from None
