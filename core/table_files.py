"""Tables out: rows as CSV, as an Excel workbook or as JSON lines, for whoever works in a spreadsheet.

A text that a spreadsheet would calculate gets an apostrophe in front and stays a text; numbers stay numbers, exact.
Excel keeps 15 digits of a number: what has more (a seed of 64 bits) is a text in a workbook.
"""

import csv
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, Final

TABLE_FORMATS: Final = (".csv", ".xlsx", ".jsonl")
CONTENT_TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".jsonl": "application/x-ndjson",
}
_DIGITS: Final = 15
_CELL: Final = 32_000
"""Excel takes 32,767 characters a cell."""

# What a spreadsheet reads past before the first character that counts: blanks, line ends, invisible characters.
_PAST: Final = r"[\s\x00-\x20\u00a0\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*"
_SIGNS: Final = (
    r"=+\-@\uff1d\uff0b\uff0d\uff20"  # the wide ones count where the locale is Japanese or Chinese
)
_FORMULA: Final = re.compile(rf"[\t\r\n]|{_PAST}[{_SIGNS}]")
# Where the list separator is a semicolon or a tab, a text is cut there, and its tail is a cell of its own.
_TAIL: Final = re.compile(rf"([;\t]{_PAST})(?=[{_SIGNS}])")
_UNSTORABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class TableFileInvalid(ValueError):
    """A place or a form in which no table can be written. Nothing was sent or spent because of it."""


def table_format(name: str) -> str:
    """`.csv`, `.xlsx` or `.jsonl`, by the end of a file's name or address.

    Raises:
        TableFileInvalid: its suffix is not one of them, or a workbook without the package that writes it.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in TABLE_FORMATS:
        raise TableFileInvalid(
            f"A table is written as {', '.join(TABLE_FORMATS)}, and {name!r} ends in neither"
        )
    if suffix == ".xlsx":
        _openpyxl()
    return suffix


def check_table_file(path: Path) -> str:
    """The form of a table that is to be written to `path`, found out before it is made.

    Raises:
        TableFileInvalid: it could not be written there.
    """
    suffix = table_format(path.name)
    if not path.absolute().parent.is_dir():
        raise TableFileInvalid(f"There is no folder {path.absolute().parent} for the table {path.name}")
    if path.is_dir():
        raise TableFileInvalid(f"{path} is a folder; name a file for the table")
    return suffix


def table_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], suffix: str = ".csv") -> bytes:
    """The rows as a file's content. Values are texts, numbers, truth values, times, None, and lists of them.

    CSV has a byte order mark, by which Excel knows UTF-8.
    """
    if suffix == ".jsonl":
        return "".join(f"{_json_row(columns, row)}\n" for row in rows).encode()
    if suffix == ".xlsx":
        return _workbook(columns, rows)
    return csv_text(columns, rows).encode("utf-8-sig", "backslashreplace")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV with a header."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([_neutral(name, cut=True) for name in columns])
    for row in rows:
        table.writerow([_csv_cell(row.get(name)) for name in columns])
    return text.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table over what is at `path`, atomically. A device or a pipe is written as it is.

    Raises:
        OSError: it cannot be written.
        TableFileInvalid: see `table_format`.
    """
    data = table_bytes(columns, rows, table_format(path.name))
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def _csv_cell(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return _neutral(value, cut=True) if isinstance(value, str) else value


def _neutral(text: str, *, cut: bool) -> str:
    mark = "'" if _FORMULA.match(text) else ""
    text = _UNSTORABLE.sub(lambda found: f"\\x{ord(found.group()):02x}", text)
    return mark + (_TAIL.sub(r"\1'", text) if cut else text)


def _plain(value: Any) -> Any:
    """A value as a cell holds it; a list as one text."""
    if isinstance(value, (list, tuple)):
        return "; ".join(str(_plain(each)) for each in value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    return str(value)


def _json_row(columns: Sequence[str], row: Mapping[str, Any]) -> str:
    return json.dumps({name: _json_value(row.get(name)) for name in columns}, ensure_ascii=True)


def _json_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_json_value(each) for each in value]
    value = _plain(value)
    if isinstance(value, Decimal):
        # A number where readers that compute in doubles show the same digits, else the exact text.
        number = float(value)
        return number if Decimal(repr(number)) == value else f"{value:f}"
    return value


def _workbook(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    book = _openpyxl().Workbook(write_only=True)
    sheet = book.create_sheet("results")
    sheet.freeze_panes = "A2"
    sheet.append([_workbook_cell(sheet, name) for name in columns])
    for row in rows:
        sheet.append([_workbook_cell(sheet, row.get(name)) for name in columns])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _workbook_cell(sheet: Any, value: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    value = _plain(value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and _is_long(value):
        value = f"{value:f}" if isinstance(value, Decimal) else str(value)
        cell = WriteOnlyCell(sheet, value)
        cell.data_type = "s"
        return cell
    if not isinstance(value, str):
        return WriteOnlyCell(sheet, value)
    cell = WriteOnlyCell(sheet, _neutral(value, cut=False)[:_CELL])
    cell.data_type = "s"  # never a formula, nor one of Excel's errors
    return cell


def _is_long(number: int | Decimal) -> bool:
    digits = Decimal(number).normalize().as_tuple().digits
    return len(digits) > _DIGITS


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError:
        raise TableFileInvalid(
            "A workbook needs the package openpyxl: pip install 'prefect-ltx[xlsx]', or name a file that ends in .csv"
        ) from None
    return openpyxl
