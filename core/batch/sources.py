"""Rows from JSONL, CSV, YAML or a list, with the place of each for whoever has to find it again.

Nothing is understood here beyond the form: a row is a mapping from names to values, and a row that cannot be
read becomes a problem in its place.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final

import yaml

from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.remote import text_from_s3

SUFFIXES: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".yaml", ".yml")
_SETTINGS: Final = ("defaults", "overrides", "matrix")
_ROWS: Final = ("rows", "requests")
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class RawRow:
    """One row as written: `where` is `line 7` of a text file or `row 7` of a list."""

    where: str
    values: Mapping[str, Any]


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
    """What paths in the rows are relative to, a folder or `s3://bucket/prefix`; None for a list: the current folder."""
    from_table: bool = False
    """Whether all values are texts, so that an empty one means no value."""


def read_source(source: str | Path | Sequence[Any] | Mapping[str, Any]) -> RawBatch:
    """Read a file (path or `s3://bucket/key`) by its suffix, a list of mappings, or a mapping as a YAML file holds it.

    Raises:
        BatchInvalid: no such file, not text, or another kind of file; nothing was read.
    """
    if not isinstance(source, (str, Path)):
        raw = RawBatch("batch")
        _structure(raw, source)
        return raw
    remote = str(source).startswith("s3://")
    path = PurePosixPath(str(source).removeprefix("s3:/")) if remote else Path(source).expanduser()
    if isinstance(path, Path):
        raw = RawBatch(path.name, folder=path.absolute().parent)
        text = _text(path)
    else:
        raw = RawBatch(path.name, folder=str(source).rpartition("/")[0])
        text = _decoded(path, text_from_s3(str(source), _MAX_BYTES))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unreadable(path, f"it is none of {', '.join(SUFFIXES)}")
    if suffix in (".jsonl", ".ndjson"):
        _lines(raw, text)
    elif suffix in (".csv", ".tsv"):
        raw.from_table = True
        _table(raw, text, "\t" if suffix == ".tsv" else None)
    else:
        _structure(raw, _parsed(path, text, as_json=suffix == ".json"))
    return raw


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unreadable(path, f"it is larger than {_MAX_BYTES >> 20} MB")
        return _decoded(path, path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None


def _decoded(path: PurePath, data: bytes) -> str:
    try:
        # As a text file is read: whatever ends a line becomes a line feed.
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not text in UTF-8") from None


def _unreadable(path: PurePath, why: str) -> BatchInvalid:
    return BatchInvalid(path.name or str(path), [Problem("file", "", f"cannot read {path}: {why}")])


def _lines(raw: RawBatch, text: str) -> None:
    # Not splitlines: a line separator inside a JSON string (U+2028) is a character like any other.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            _add(raw, where, json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            what = (
                f"not JSON: {error.msg} (column {error.colno})"
                if isinstance(error, json.JSONDecodeError)
                else "nested too deeply"
            )
            raw.problems.append(Problem(where, "", what))


def _table(raw: RawBatch, text: str, delimiter: str | None) -> None:
    head = text.split("\n", 1)[0]
    if delimiter is None:
        # What a spreadsheet writes where the comma is the decimal sign.
        delimiter = ";" if ";" in head and "," not in head else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                _check_header(raw, names)
                continue
            where = f"line {reader.line_num}"
            if len(cells) > len(names):
                what = f"{len(cells)} cells for {len(names)} columns; is a text with the delimiter in quotes?"
                raw.problems.append(Problem(where, "", what))
                continue
            raw.rows.append(RawRow(where, dict(zip(names, cells, strict=False))))
    except csv.Error as error:
        raw.problems.append(Problem(f"line {reader.line_num}", "", f"not CSV: {error}"))


def _check_header(raw: RawBatch, names: list[str]) -> None:
    for number, name in enumerate(names, 1):
        if not name:
            raw.problems.append(Problem("header", f"column {number}", "it has no name"))
        elif names.index(name) != number - 1:
            raw.problems.append(Problem("header", name, "two columns have this name"))


def _parsed(path: PurePath, text: str, *, as_json: bool) -> Any:
    try:
        return json.loads(text) if as_json else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        what = f"not YAML: {error.problem or error.context}{place}"
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        what = f"it cannot be parsed ({type(error).__name__})"
    raise BatchInvalid(path.name, [Problem("file", "", what)])


def _structure(raw: RawBatch, data: Any) -> None:
    """A list of rows, or a mapping with rows and what applies to all of them."""
    if isinstance(data, Mapping) and not {*_ROWS, *_SETTINGS} & set(data):
        data = [data]  # one request
    if not isinstance(data, Mapping):
        _rows(raw, "", data)
        return
    for name, value in data.items():
        if name in _SETTINGS and isinstance(value, Mapping):
            setattr(raw, name, {str(key): each for key, each in value.items()})
        elif name in _SETTINGS and value is not None:
            raw.problems.append(Problem(str(name), "", f"a mapping is needed, not {_kind(value)}"))
        elif name in _ROWS:
            _rows(raw, str(name), value)
        elif name not in _SETTINGS:
            known = ", ".join((*_SETTINGS, *_ROWS))
            raw.problems.append(Problem("file", str(name), f"unknown part; there are {known}"))


def _rows(raw: RawBatch, name: str, data: Any) -> None:
    if data is None:
        return
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        raw.problems.append(Problem(name or "file", "", f"a list of requests is needed, not {_kind(data)}"))
        return
    for number, each in enumerate(data, 1):
        _add(raw, f"row {number}", each)


def _add(raw: RawBatch, where: str, value: Any) -> None:
    if hasattr(value, "model_fields_set"):  # a request as our own model
        value = _given(value)
    if not isinstance(value, Mapping):
        raw.problems.append(Problem(where, "", f"one mapping of fields is needed, not {_kind(value)}"))
        return
    raw.rows.append(RawRow(where, {str(key): each for key, each in value.items()}))


def _given(request: Any) -> dict[str, Any]:
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
