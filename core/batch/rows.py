"""Rows as requests: defaults, row, matrix and overrides put together, and all that is wrong with each."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from prefect_ltx.batch.cells import row_from_cells, size
from prefect_ltx.batch.matrix import ALIASES, MatrixTooLarge, expand, values_of
from prefect_ltx.batch.problems import Problem
from prefect_ltx.batch.sources import RawBatch, RawRow
from prefect_ltx.fal import (
    FalRequestInvalid,
    GenerationRequest,
    endpoint_model,
    endpoint_models,
    extra_media,
    parse_request,
)
from prefect_ltx.fal.endpoints import told_model
from prefect_ltx.fal.sendable import is_blank, trimmed
from prefect_ltx.reading import (
    Unreadable,
    is_file,
    is_local,
    local_path,
    normalised,
    placed,
    why_no_media,
)

OWN_COLUMNS: Final = ("endpoint", "id", "tags")
"""Columns that are not fields of fal's: which endpoint, what a person calls the row, tags for the ledger."""

_SIDES: Final = ("width", "height")
"""A size as two columns: `resolution` as a table can write it."""


_SLIPS: Final = (
    (
        re.compile(r"(^|/)(https?|s3):/", re.IGNORECASE),
        "; an address has two slashes, as in https:// and s3://",
    ),
    (re.compile(r"(^|/)www\.", re.IGNORECASE), "; an address begins with https://"),
    (re.compile("[“”„«»]"), "; are the quotation marks part of its name?"),
    (re.compile(r"\$\w|%\w+%"), "; variables are not read here: write the path in full"),
    (re.compile(r"[A-Za-z]:\\\\?"), "; a path of Windows is read on Windows only"),
)
"""What a path without a file often is, and what would be right."""


@dataclass(frozen=True)
class Row:
    """One request of a batch. `place` counts the requests from 1, after the matrix."""

    place: int
    where: str
    """Where it stands in the source: `line 7`, `row 7`."""
    request: GenerationRequest
    id: str = ""
    """What a person calls it, from the `id` column."""
    tags: tuple[str, ...] = ()
    line: int | None = None
    """Its line in the source, where each row has its own."""


class RowReader:
    """The rows of a source, one after the other."""

    def __init__(
        self,
        raw: RawBatch,
        *,
        defaults: dict[str, Any],
        overrides: dict[str, Any],
        matrix: dict[str, Any],
        endpoint: str | None,
        most: int,
        look_for_files: bool,
    ) -> None:
        self._raw = raw
        self._defaults, self._overrides = defaults, overrides
        self._endpoint = endpoint
        self._most = most
        self._look_for_files = look_for_files
        self.problems = list(raw.problems)
        models = endpoint_models()
        self._fields = frozenset(name for model in models for name in model.model_fields)
        self._media = frozenset(name for model in models for name in model.MEDIA_FIELDS)
        self._known = frozenset({*self._fields, *OWN_COLUMNS, *_SIDES, "strength"})
        self._wrong: dict[str, str] = {}
        self._check_names("defaults", defaults)
        self._check_names("overrides", overrides)
        self._axes = self._axes_of(matrix)
        # The header itself: a row may be short, and there may be none.
        self._check_names("header", raw.header or ())

    def rows(self) -> list[Row]:
        """Every request, in order; what is wrong with the others is in `problems`."""
        sources = list(self._raw.rows)
        if not sources and self._axes and not self._raw.problems:
            sources = [RawRow("matrix", {})]
        try:
            combinations = list(expand(self._axes, max(1, len(sources)), self._most)) if sources else []
        except MatrixTooLarge as error:
            what = str(error) if self._axes else f"{len(sources):,} rows, and {self._most:,} is the ceiling"
            self.problems.append(Problem("matrix" if self._axes else "file", "", what))
            return []
        found: list[Row] = []
        place = 0
        for source in sources:
            row = self._row_values(source)
            for combination in combinations:
                place += 1
                if made := self._row(place, source, row, combination):
                    found.append(made)
        return found

    def _axes_of(self, matrix: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
        axes: dict[str, Sequence[Any]] = {}
        for given, values in matrix.items():
            name = ALIASES.get(given, given)
            if name in axes:
                self._add("matrix", given, f"{name} is given by two names")
            try:
                axes[name] = values_of(values)
            except ValueError as error:
                self._add("matrix", given, str(error))
        self._check_names("matrix", axes)
        return axes

    def _check_names(self, where: str, names: Iterable[str]) -> None:
        for name in names:
            if name and name not in self._known:
                self._add(where, name, self._unknown(name))

    def _add(self, where: str, name: str, what: str) -> None:
        """A problem of a part that applies to all rows."""
        self.problems.append(Problem(where, name, what).at(self._raw.place((where, *name.split(".")))))

    def _add_of_row(self, source: RawRow, name: str, what: str) -> None:
        """A problem of a row, placed where the value was written: in the row, else in the defaults."""
        path = (
            tuple(int(part) if part.isdecimal() and len(part) < 9 else part for part in name.split("."))
            if name
            else ()
        )
        if source.reported and (not path or path[0] in source.reported):
            return
        place = source.place(path)
        if path and path[0] not in source.values:
            for part, values in (("overrides", self._raw.overrides), ("defaults", self._raw.defaults)):
                if path[0] in values:
                    place = self._raw.place((part, *path))
                    break
        self.problems.append(Problem(source.where, name, what).at(place))

    def _row_values(self, source: RawRow) -> dict[str, Any]:
        if self._raw.header is None:
            row = {name: value for name, value in source.values.items() if value is not None}
        else:
            row, wrong = row_from_cells(source.values, decimal_comma=self._raw.decimal_comma)
            for name, what in wrong.items():
                self._add_of_row(source, name, what)
        for name in self._axes:
            if name in row:
                self._add_of_row(source, name, "given by the row and by the matrix")
        return row

    def _row(
        self, place: int, source: RawRow, row: Mapping[str, Any], matrix: Mapping[str, Any]
    ) -> Row | None:
        before = len(self.problems)
        levels = (self._defaults, row, matrix, self._overrides)
        merged = {name: value for level in levels for name, value in level.items()}
        self._read_size(source, levels, merged)
        own = {name: merged.pop(name, None) for name in OWN_COLUMNS}
        self._place_media(source, merged)
        if "resolution" in merged:
            merged["resolution"] = size(merged["resolution"])
        if self._raw.header is None:  # the unknown columns of a table were reported once, with the header
            for name in row:
                if name not in self._known:
                    self._add_of_row(source, name, self._unknown(name))
        merged = {name: value for name, value in merged.items() if name in self._known}
        endpoint = own["endpoint"] or self._endpoint
        model = _model_of(merged, endpoint)
        if model is not None:
            merged = self._fitted(model, merged, {*row, *matrix})
        tags, label = self._tags(source, own["tags"]), self._label(source, own["id"])
        request = self._request(source, merged, endpoint)
        if self._look_for_files:
            self._check_files(source, merged)
        if request is None or source.reported or len(self.problems) > before:
            return None
        return Row(place, source.where, request, id=label, tags=tags, line=source.line)

    def _read_size(self, source: RawRow, levels: Sequence[Mapping[str, Any]], merged: dict[str, Any]) -> None:
        """`width` and `height` as `resolution`; what is nearer to the row goes before, by either name."""
        sides: dict[str, Any] = {}
        resolution: Any = None
        for level in levels:
            given = {name: level[name] for name in _SIDES if level.get(name) is not None}
            named = level.get("resolution")
            if given and named is not None:
                self._add_of_row(source, next(iter(given)), "give resolution, or width and height, not both")
            if named is not None:
                resolution, sides = named, {}
            elif given:
                resolution, sides = None, sides | given
        for name in _SIDES:
            merged.pop(name, None)
        if len(sides) == 1:
            (name,) = sides
            other = _SIDES[1 - _SIDES.index(name)]
            self._add_of_row(
                source, name, f"it needs {other} beside it; or write resolution, such as 768x448"
            )
        elif sides:
            merged["resolution"] = sides
        elif resolution is not None:
            merged["resolution"] = resolution

    def _place_media(self, source: RawRow, merged: dict[str, Any]) -> None:
        """Every media path as it is meant from here."""
        extras = merged.get("extra_arguments")
        inside = extra_media(extras) if isinstance(extras, dict) else {}
        for name, value in ({name: merged[name] for name in self._media & set(merged)} | inside).items():
            if not isinstance(value, str) or is_blank(value):
                continue
            try:
                found = placed(value, self._raw.folder)
            except Unreadable as error:
                self._add_of_row(source, name, error.what)
                continue
            if name in inside:
                merged["extra_arguments"] = merged["extra_arguments"] | {name: found}
            else:
                merged[name] = found

    def _fitted(
        self, model: type[GenerationRequest], merged: Mapping[str, Any], of_row: set[str]
    ) -> dict[str, Any]:
        """Without the defaults that only the other endpoint has, and with `strength` under its name there.

        fal's own `strength` is meant beside `preserve_original_video`, or beside the other strength by its name.
        """
        fitted: dict[str, Any] = {}
        is_fals = "strength" in model.model_fields and (
            merged.get("preserve_original_video") or merged.get(model.STRENGTH_FIELD) is not None
        )
        for name, value in merged.items():
            if name == "strength" and not is_fals and model.STRENGTH_FIELD:
                fitted.setdefault(model.STRENGTH_FIELD, value)
            elif name in model.model_fields or name not in self._fields or name in of_row:
                fitted[name] = value
        return fitted

    def _request(self, source: RawRow, values: Mapping[str, Any], endpoint: Any) -> GenerationRequest | None:
        try:
            return parse_request(values, trimmed(str(endpoint)) if endpoint else None)
        except FalRequestInvalid as error:
            if not error.fields:
                self._add_of_row(source, "endpoint" if endpoint else "", error.what)
            for each in error.fields:
                self._add_of_row(source, ".".join(str(part) for part in each.loc), each.msg)
        return None

    def _tags(self, source: RawRow, value: Any) -> tuple[str, ...]:
        tags = [value] if isinstance(value, str) else value or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) and not is_blank(tag) for tag in tags):
            self._add_of_row(source, "tags", "a list of words is needed")
            return ()
        return tuple(tags)

    def _label(self, source: RawRow, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            # 1.10 would become 1.1, and YAML reads `no` as false.
            self._add_of_row(source, "id", "a text is needed: write it in quotes")
            return ""
        return trimmed(str(value))

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(normalised(name), self._known, n=1)
        hint = (
            f"did you mean {close[0]}?" if close else "one that fal has added since goes into extra_arguments"
        )
        return f"no such field; {hint}"

    def _check_files(self, source: RawRow, values: Mapping[str, Any]) -> None:
        extras = values.get("extra_arguments")
        media = {name: values[name] for name in sorted(self._media & set(values))}
        media |= extra_media(extras) if isinstance(extras, dict) else {}
        for name, value in media.items():
            if not isinstance(value, str) or is_blank(value):
                continue
            if value not in self._wrong:
                self._wrong[value] = _why_no_file(value) if is_local(value) else why_no_media(value)
            if self._wrong[value]:
                self._add_of_row(source, name, self._wrong[value])


def _model_of(values: Mapping[str, Any], endpoint: Any) -> type[GenerationRequest] | None:
    return endpoint_model(trimmed(str(endpoint))) if endpoint else told_model(values)


def _why_no_file(source: str) -> str:
    """Why a local path names no file; empty where it does."""
    text = unquote(urlsplit(source).path) if source[:5].lower() == "file:" else source
    try:
        path = local_path(text)
    except Unreadable as error:
        return error.what
    if is_file(path):
        return ""
    hint = next((hint for look, hint in _SLIPS if look.search(str(path))), "")
    return f"there is no file {path}{hint}"
