"""The end of every row as a table, for whoever sent the requests as one."""

import csv
import io
from typing import Any, Final

from prefect_ltx.batch.run import BatchReport

_COLUMNS: Final = (
    "id",
    "row",
    "where",
    "status",
    "reason",
    "seed",
    "price_expected_usd",
    "price_billed_usd",
    "video",
    "folder",
    "generation_id",
    "request_id",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t")


def results_csv(report: BatchReport) -> bytes:
    """The report's rows as CSV that Excel opens with every character: UTF-8 with a byte order mark."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for row in report.rows:
        table.writerow([_cell(getattr(row, name)) for name in _COLUMNS])
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _cell(value: Any) -> Any:
    # A spreadsheet would calculate what begins like a formula; what it shows with the apostrophe is the text.
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
