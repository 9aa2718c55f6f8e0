"""Excel workbooks (.xlsx) as tables of texts: the stored values of one sheet. Needs openpyxl, the extra `xlsx`.

Whatever a spreadsheet shows otherwise than it stores, or does not store at all, is refused by cell: dates, errors,
formulas without a value, merged cells, and numbers of more than 15 digits, of which Excel has lost the last.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from prefect_ltx.fal.sendable import is_blank
from prefect_ltx.reading.problems import Problem, Unreadable
from prefect_ltx.reading.tables import MOST_COLUMNS, Table

MOST_ROWS: Final = 100_000
_MOST_UNPACKED: Final = 512 << 20
_EXACT: Final = 10**15
_OWN_SHEETS: Final = ("requests", "batch")


def read_workbook(data: bytes) -> Table:
    """The table of a workbook: of the sheet called `requests` or `batch`, or of the only one that holds anything.

    Raises:
        Unreadable: no workbook, several sheets to choose from, or openpyxl is missing.
    """
    try:
        import openpyxl
    except ImportError:
        raise Unreadable(
            "a workbook needs the package openpyxl: pip install 'prefect-ltx[xlsx]', or save the sheet as “CSV UTF-8”"
        ) from None
    if not data.startswith(b"PK\x03\x04"):
        raise Unreadable(
            "it is no .xlsx workbook: an old or protected one has to be saved anew, without a password"
        )
    try:
        _check_size(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that are not read
            # Twice: of a formula one has the stored value, and only the other shows that it is one.
            values = openpyxl.load_workbook(
                io.BytesIO(data), read_only=True, data_only=True, keep_links=False
            )
            formulas = openpyxl.load_workbook(
                io.BytesIO(data), read_only=True, data_only=False, keep_links=False
            )
            name = _sheet(values)
            table = Table()
            for number, cells in _rows(values[name], formulas[name], table.problems):
                if not cells:
                    continue
                if not table.names:
                    table.add_header(cells, number)
                else:
                    # A workbook has no delimiters that could be missing.
                    cells += [""] * (len(table.names) - len(cells))
                    table.add_row(cells, f"row {number}", number)
            if table.names and _has_merged_cells(data, values[name]):
                what = "it has merged cells, of which only the first holds anything: unmerge them"
                table.problems.append(Problem(f"sheet {name}", "", what))
            return table
    except Unreadable:
        raise
    except Exception as error:  # openpyxl lets errors of zipfile, XML and its own checks through
        raise Unreadable(f"it is no workbook that can be read ({type(error).__name__})") from None


def _check_size(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        if sum(each.file_size for each in parts.infolist()) > _MOST_UNPACKED:
            raise Unreadable(f"unpacked it is larger than {_MOST_UNPACKED >> 20} MB")


def _sheet(book: Any) -> str:
    sheets: dict[str, Any] = {
        str(each.title): each for each in book.worksheets if each.sheet_state == "visible"
    }
    named = [name for name in sheets if name.strip().lower() in _OWN_SHEETS]
    if len(named) == 1:
        return named[0]
    filled = [name for name, sheet in sheets.items() if _holds_anything(sheet)]
    if len(filled) > 1:
        shown = ", ".join(filled[:5])
        raise Unreadable(
            f"{len(filled)} sheets hold something ({shown}): call the one that is meant “requests”"
        )
    if not filled:
        raise Unreadable("no sheet of it holds anything")
    return filled[0]


def _holds_anything(sheet: Any) -> bool:
    rows = sheet.iter_rows(max_row=1000, max_col=MOST_COLUMNS, values_only=True)
    return any(value is not None and not is_blank(str(value)) for row in rows for value in row)


def _rows(values: Any, formulas: Any, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Each row's number and texts, without the empty ones at its end."""
    limits = {"max_row": MOST_ROWS + 1, "max_col": MOST_COLUMNS + 1}
    both = zip(values.iter_rows(**limits), formulas.iter_rows(**limits), strict=False)
    for number, (row, written) in enumerate(both, 1):
        if number > MOST_ROWS:
            if any(cell.value is not None for cell in row):
                raise Unreadable(f"it has more than {MOST_ROWS:,} rows")
            return
        texts: list[str] = []
        for column, (cell, formula) in enumerate(zip(row, written, strict=False), 1):
            is_formula = getattr(formula, "data_type", "") == "f"
            text, why = _text(cell, is_formula=is_formula)
            if why:
                problems.append(
                    Problem(f"row {number}", f"cell {_letters(column)}{number}", why, number, column)
                )
            texts.append(text)
        while texts and is_blank(texts[-1]):
            texts.pop()
        yield number, texts


def _text(cell: Any, *, is_formula: bool) -> tuple[str, str]:
    value = cell.value
    if value is None:
        what = "the formula has no stored value: open it in a spreadsheet program and save it, or write the value"
        return "", what if is_formula else ""
    if isinstance(value, bool):
        return ("true" if value else "false"), ""
    if getattr(cell, "data_type", "") == "e":
        return "", f"it shows {value}"
    if isinstance(value, str):
        return value, ""
    if isinstance(value, (int, float)):
        if abs(value) >= _EXACT:
            return "", "Excel keeps 15 digits of a number: format the column as text, and write it again"
        return (str(int(value)) if float(value).is_integer() else repr(value)), ""
    return "", "it is a date or a time for Excel: format the column as text, and write it again"


def _has_merged_cells(data: bytes, sheet: Any) -> bool:
    path = str(getattr(sheet, "_worksheet_path", "")).lstrip("/")
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        if path not in parts.namelist():
            return False
        with parts.open(path) as file:
            before = b""
            while piece := file.read(1 << 20):
                if b"<mergeCell " in before[-16:] + piece:
                    return True
                before = piece
    return False


def _letters(column: int) -> str:
    name = ""
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name
