"""Rows from JSONL, CSV, TSV, JSON, YAML, a workbook or a list, with the place of each for whoever has to find it.

Nothing is understood here beyond the form: a row is a mapping from names to values, and a row that cannot be
read becomes a problem in its place.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.fal.sendable import is_blank, unsendable
from prefect_ltx.reading import (
    Document,
    Fault,
    Place,
    Source,
    Table,
    TableRow,
    Unreadable,
    read_bytes,
    read_json,
    read_table,
    read_workbook,
    read_yaml,
    scheme_of,
    text_of,
)

SUFFIXES: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".yaml", ".yml", ".xlsx")
_SETTINGS: Final = ("defaults", "overrides", "matrix")
_ROWS: Final = ("rows", "requests")

_At = tuple[str | int, ...]
Found = Callable[[_At], Place | None]


def _nowhere(path: _At) -> Place | None:
    return None


@dataclass(frozen=True)
class RawRow:
    """One row as written: `where` is `line 7` of a text file or `row 7` of a list."""

    where: str
    values: Mapping[str, Any]
    place: Found = _nowhere
    """Where a field of it stands, by the field's path."""
    line: int | None = None
    """Its line, where each row has its own."""
    reported: Set[str] = frozenset()
    """Fields whose values cannot be used, with a problem for each already: there is nothing more to say of them."""


@dataclass
class RawBatch:
    """Everything that a source holds, problems included."""

    name: str
    rows: list[RawRow] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    matrix: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    folder: Path | str | None = None
    """What paths in the rows are relative to, a folder or an address; None for a list: the current folder."""
    header: Sequence[str] | None = None
    """The columns of a table, in which all values are texts and an empty one means no value."""
    decimal_comma: bool = False
    """Of a table: whether `0,6` means 0.6."""
    place: Found = _nowhere
    """Where a part of the source stands, by its path."""
    is_one: bool = False
    """Whether it is one request, and no list of them."""


def read_source(source: str | Path | Iterable[Any] | Mapping[str, Any]) -> RawBatch:
    """Read a file (path, `s3://bucket/key` or `https://…`) by its suffix, a list of mappings, or a mapping as a YAML
    file holds it.

    Raises:
        BatchInvalid: no such file, not text, or another kind of file; nothing was read.
    """
    if not isinstance(source, (str, Path)):
        return _from_python(source)
    try:
        return _from_file(read_bytes(source))
    except Unreadable as error:
        name = str(source).partition("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]
        name = "the source" if scheme_of(str(source)) == "data" else name or str(source)
        # The place is in the text too, in front of the remedy it is easier found.
        problem = Problem("file", "", str(error)).at(error.place)
        raise BatchInvalid(name, [problem]) from None


def _from_file(source: Source) -> RawBatch:
    raw = RawBatch(source.name, folder=source.folder)
    if source.suffix not in SUFFIXES:
        raise Unreadable(f"cannot read {source.name}: its suffix is not one of {', '.join(SUFFIXES)}")
    if source.suffix == ".xlsx":
        _table(raw, read_workbook(source.data))
        return raw
    text = text_of(source.data)
    if source.suffix in (".jsonl", ".ndjson"):
        _lines(raw, text)
    elif source.suffix in (".csv", ".tsv"):
        _table(raw, read_table(text, "\t" if source.suffix == ".tsv" else None))
    else:
        _document(raw, read_json(text) if source.suffix == ".json" else read_yaml(text))
    return raw


def _from_python(source: Iterable[Any] | Mapping[str, Any]) -> RawBatch:
    raw = RawBatch("batch")
    if not isinstance(source, (Mapping, Sequence)):
        try:
            source = list(source)  # any iterable from Python
        except TypeError:
            what = f"a file, a list of requests or a mapping is needed, not {_kind(source)}"
            raise BatchInvalid(raw.name, [Problem("source", "", what)]) from None
    value = [_given(each) for each in source] if isinstance(source, Sequence) else source
    is_bytes = isinstance(source, (bytes, bytearray))
    faults = [] if is_bytes else [Fault(path, what) for path, what in unsendable(value)]
    raw.problems += [_problem(each) for each in faults]
    _structure(raw, value, faults)
    return raw


def _lines(raw: RawBatch, text: str) -> None:
    # Not splitlines: a line separator inside a JSON string (U+2028) is a character like any other.
    for number, line in enumerate(text.split("\n"), 1):
        if is_blank(line):
            continue
        where = f"line {number}"
        try:
            document = read_json(line)
        except Unreadable as error:
            column = error.place.column if error.place else None
            at = f" (column {column})" if column else ""
            raw.problems.append(Problem(where, "", f"{error.what}{at}", number, column))
            continue
        for fault in document.told():
            name = ".".join(map(str, fault.path))
            raw.problems.append(Problem(where, name, fault.what).at(_on_line(number, fault.place)))
        reported = {_first(fault.path) for fault in document.faults}
        _add(raw, where, document.value, _LinePlaces(number, document), number, reported)


@dataclass(frozen=True)
class _LinePlaces:
    """Places in one line of a file."""

    number: int
    document: Document

    def __call__(self, path: _At) -> Place | None:
        return _on_line(self.number, self.document.place(path))


def _on_line(number: int, place: Place | None) -> Place:
    return Place(number, place.column if place else None)


def _table(raw: RawBatch, table: Table) -> None:
    raw.header = [name for name in table.names if name]
    raw.decimal_comma = table.decimal_comma
    raw.place = lambda path: table.header_place(str(path[1])) if path[:1] == ("header",) else None
    raw.problems += dict.fromkeys(table.problems)
    for row in table.rows:

        def place(path: _At, row: TableRow = row) -> Place | None:
            return row.place(table.names, str(path[0]) if path else "")

        raw.rows.append(RawRow(row.where, row.values, place, row.line))


def _document(raw: RawBatch, document: Document) -> None:
    raw.place = document.place
    raw.is_one = _is_one(document.value)
    raw.problems += [_problem(each, is_one=raw.is_one) for each in document.told()]
    _structure(raw, document.value, document.faults)


def _is_one(data: Any) -> bool:
    """Whether it is one request: a mapping without the parts of a batch."""
    return isinstance(data, Mapping) and not {*_ROWS, *_SETTINGS} & set(data)


def _problem(fault: Fault, *, is_one: bool = False) -> Problem:
    """A fault of a whole document, by its row or part and its field."""
    path = list(fault.path)
    if path and path[0] in _ROWS and isinstance(path[1:2][0] if path[1:] else None, int):
        path = path[1:]
    if path and isinstance(path[0], int):
        where, names = f"row {path[0] + 1}", path[1:]
    elif len(path) > 1 and path[0] in _SETTINGS:
        where, names = str(path[0]), path[1:]
    else:
        where, names = "request" if is_one else "file", path
    return Problem(where, ".".join(map(str, names)), fault.what).at(fault.place)


def _first(path: Sequence[str | int]) -> str:
    """The name a path begins with; empty where it has none, and the whole is meant."""
    return str(path[0]) if path else ""


def _reported(faults: Iterable[Fault], *, is_one: bool) -> Mapping[_At, Set[str]] | None:
    """The fields of each row, by the row's path, that cannot be used; None where something around the rows cannot."""
    found: dict[_At, set[str]] = defaultdict(set)
    for path, *_ in faults:
        row = path[:0] if is_one else path[: 2 if path[:1] and path[0] in _ROWS else 1]
        if not is_one and not (row and isinstance(row[-1], int)):
            return None
        found[row].add(_first(path[len(row) :]))
    return found


def _structure(raw: RawBatch, data: Any, faults: Sequence[Fault] = ()) -> None:
    """A list of rows, or a mapping with rows and what applies to all of them."""
    raw.is_one = _is_one(data)
    reported = _reported(faults, is_one=raw.is_one)
    if reported is None:
        return
    if raw.is_one:
        _add(raw, "request", data, raw.place, reported=reported.get((), frozenset()))
        return
    if not isinstance(data, Mapping):
        _rows(raw, "", data, reported)
        return
    for name, value in data.items():
        if name in _SETTINGS and isinstance(value, Mapping):
            setattr(raw, name, {str(key): each for key, each in value.items()})
        elif name in _SETTINGS and value is not None:
            what = f"a mapping is needed, not {_kind(value)}"
            raw.problems.append(Problem(str(name), "", what).at(raw.place((name,))))
        elif name in _ROWS:
            _rows(raw, str(name), value, reported)
        elif name not in _SETTINGS:
            known = ", ".join((*_SETTINGS, *_ROWS))
            what = f"unknown part; there are {known}"
            raw.problems.append(Problem("file", str(name), what).at(raw.place((str(name),))))


def _rows(raw: RawBatch, name: str, data: Any, reported: Mapping[_At, Set[str]]) -> None:
    if data is None:
        return
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        what = f"a list of requests is needed, not {_kind(data)}"
        raw.problems.append(Problem(name or "file", "", what).at(raw.place((name,) if name else ())))
        return
    around = (name,) if name else ()
    for number, each in enumerate(data):

        def place(path: _At, number: int = number) -> Place | None:
            return raw.place((*around, number, *path))

        _add(raw, f"row {number + 1}", each, place, reported=reported.get((*around, number), frozenset()))


def _add(
    raw: RawBatch,
    where: str,
    value: Any,
    place: Found,
    line: int | None = None,
    reported: Set[str] = frozenset(),
) -> None:
    if "" in reported:
        return
    value = _given(value)
    if not isinstance(value, Mapping):
        what = f"one mapping of fields is needed, not {_kind(value)}"
        raw.problems.append(Problem(where, "", what).at(place(())))
        return
    values = {str(key): each for key, each in value.items() if str(key) not in reported}
    raw.rows.append(RawRow(where, values, place, line, reported))


def _given(request: Any) -> Any:
    """A request as our own model as a row; everything else as it is."""
    if not hasattr(request, "model_fields_set"):
        return request
    return {
        "endpoint": request.ENDPOINT,
        **request.model_dump(mode="json", include=set(request.model_fields_set)),
    }


def _kind(value: object) -> str:
    names: Iterator[tuple[type, str]] = iter(
        (
            (bool, "true or false"),
            (str, "text"),
            (int, "a number"),
            (float, "a number"),
            (list, "a list"),
            (dict, "a mapping"),
            (type(None), "nothing"),
        )
    )
    return next((name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__}")
