"""Tables of texts: CSV and TSV as spreadsheets of many countries write them.

The header is checked for itself, whatever the rows look like. Understood: a first line `sep=;`, semicolons and tabs,
names in capitals and with spaces, cells with non-breaking spaces around, empty cells at a row's end. Refused: a row
with too few or too many cells.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prefect_ltx.fal.sendable import is_blank, trimmed, why_not_text
from prefect_ltx.reading.problems import Place, Problem

MOST_COLUMNS: Final = 500
_LONGEST_CELL: Final = 1 << 24
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?[ \t,;]*', re.IGNORECASE)
_GAP: Final = re.compile(r"[\s_\-]+")


@dataclass(frozen=True)
class TableRow:
    """One row: its texts by the header's names, and where it stands."""

    where: str
    values: dict[str, str]
    line: int

    def place(self, names: Sequence[str], name: str) -> Place:
        """Where a cell is."""
        return Place(self.line, names.index(name) + 1 if name in names else None)


@dataclass
class Table:
    """A table's header and rows, and all that is wrong with their form."""

    names: list[str] = field(default_factory=list)
    header_line: int = 1
    rows: list[TableRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    decimal_comma: bool = False
    """Whether it comes from where the comma is the decimal sign: there the delimiter is a semicolon."""

    def header_place(self, name: str) -> Place:
        """Where a column's name stands."""
        return Place(self.header_line, self.names.index(name) + 1 if name in self.names else None)

    def add_header(self, cells: Sequence[str], line: int) -> None:
        """The first row that holds anything."""
        self.header_line = line
        names = [normalised(cell) for cell in cells]
        while names and not names[-1]:
            names.pop()
        self.names = names
        if len(names) > MOST_COLUMNS:
            self.problems.append(Problem("header", "", f"more than {MOST_COLUMNS} columns", line))
        for number, name in enumerate(names, 1):
            if why := why_not_text(name):
                self.problems.append(Problem("header", f"column {number}", why, line, number))
            elif name and names.index(name) != number - 1:
                self.problems.append(Problem("header", name, "two columns have this name", line, number))

    def add_row(self, cells: Sequence[str], where: str, line: int) -> None:
        """A row below the header, where anything is in it."""
        count = len(self.names)
        values = list(cells)
        while len(values) > count and is_blank(values[-1]):
            values.pop()
        if len(values) != count:
            remedy = (
                "is a text with the delimiter in quotes?"
                if len(values) > count
                else "an empty cell needs its delimiter too"
            )
            what = f"{_counted(len(values), 'cell')} for {_counted(count, 'column')}; {remedy}"
            self.problems.append(Problem(where, "", what, line))
            return
        row: dict[str, str] = {}
        for number, (name, text) in enumerate(zip(self.names, values, strict=True), 1):
            if not name and not is_blank(text):
                what = "it has no name, and something is in it"
                self.problems.append(Problem("header", f"column {number}", what, self.header_line, number))
            elif why := why_not_text(text):
                self.problems.append(Problem(where, name, why, line, number))
            elif name:
                row[name] = text
        self.rows.append(TableRow(where, row, line))


def read_table(text: str, delimiter: str | None = None) -> Table:
    """The table in `text`; without a delimiter it is told from the header: a comma, a semicolon or a tab."""
    table = Table()
    skipped = 0
    first, _, rest = text.partition("\n")
    if named := _SEP_LINE.fullmatch(trimmed(first)):
        # Excel's own line for Excel: which delimiter follows.
        delimiter, text, skipped = named[1], rest, 1
    elif trimmed(first).lower() in ("sep=", '"sep="'):
        delimiter, text, skipped = "\t", rest, 1
    delimiter = delimiter or _delimiter_of(text)
    table.decimal_comma = delimiter == ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = skipped
    try:
        for cells, line in _numbered(reader, skipped):
            if all(map(is_blank, cells)):
                continue
            if not table.names and not table.rows:
                table.add_header(cells, line)
            else:
                table.add_row(cells, f"line {line}", line)
    except csv.Error as error:
        # What is wrong began in the row that was being read, at the latest in the reader's own line.
        line = reader.line_num + skipped
        table.problems.append(Problem(f"line {line}", "", f"not a table: {_explained(error)}", line))
    return table


def normalised(name: str) -> str:
    """A column's name as fields are written: `Video URL` is `video_url`."""
    return _GAP.sub("_", trimmed(name).strip("\"'").casefold()).strip("_")


def _numbered(reader: Any, skipped: int) -> Iterator[tuple[list[str], int]]:
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in reader:
            yield cells, reader.line_num + skipped
    finally:
        csv.field_size_limit(limit)


def _delimiter_of(text: str) -> str:
    """Of the delimiters that a spreadsheet writes, the one that the header has most of outside of quotes."""
    head = next((line for line in text.split("\n") if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", head)
    counts = {mark: bare.count(mark) for mark in (",", ";", "\t")}
    return max(counts, key=lambda mark: counts[mark])


def _explained(error: csv.Error) -> str:
    if "field larger" in str(error):
        return f"a cell is longer than {_LONGEST_CELL >> 20} MB; is a quotation mark missing?"
    return f"{error}; is a quotation mark missing?"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
