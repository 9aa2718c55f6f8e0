"""From a source to requests: defaults, row, matrix and overrides put together, every row checked.

Everything that is wrong is found before anything is spent, and all of it is reported.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from prefect_ltx.batch.cells import row_from_cells, size
from prefect_ltx.batch.matrix import ALIASES, MatrixTooLarge, expand, values_of
from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.sources import RawBatch, read_source
from prefect_ltx.fal import (
    FalRequestInvalid,
    GenerationRequest,
    IngredientRequest,
    ReferenceVideoRequest,
    extra_media,
    parse_request,
)

MOST_ROWS: Final = 10_000
"""The ceiling of a batch unless it is raised: what a slip of the hand in a matrix may cost."""

OWN_COLUMNS: Final = ("endpoint", "id", "tags")
"""Columns that are not fields of fal's: which endpoint, what a person calls the row, tags for the ledger."""

_MODELS: Final = (ReferenceVideoRequest, IngredientRequest)
_FIELDS: Final = frozenset(name for model in _MODELS for name in model.model_fields)
_MEDIA: Final = frozenset(name for model in _MODELS for name in model.MEDIA_FIELDS)
_STRENGTH: Final = {
    ReferenceVideoRequest: "video_strength",
    IngredientRequest: "ingredient_strength",
}
_KNOWN: Final = frozenset({*_FIELDS, *OWN_COLUMNS, "strength"})


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


@dataclass(frozen=True)
class Batch:
    """A checked batch: every row is a valid request and every local file in it exists."""

    name: str
    rows: tuple[Row, ...] = field(repr=False)


def read_batch(
    source: str | Path | Sequence[Any] | Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    matrix: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    name: str = "",
    most: int = MOST_ROWS,
) -> Batch:
    """Read and check a whole batch.

    A value comes from `defaults`, then the row, then the matrix, then `overrides`; what is given here goes
    before what the source says. A default or override of a field that only the other endpoint has is left
    out. `matrix` maps a field (or `prompts`, `seeds`, `strengths`) to its values; every row is multiplied by
    all combinations. `strength` means `video_strength` or `ingredient_strength`, by the endpoint, and fal's own
    `strength` beside `preserve_original_video` or `video_strength`.

    Raises:
        BatchInvalid: with every problem of every row. Nothing was sent or spent.
    """
    raw = read_source(source)
    reader = _Reader(
        raw,
        defaults={**raw.defaults, **(defaults or {})},
        overrides={**raw.overrides, **(overrides or {})},
        matrix={**raw.matrix, **(matrix or {})},
        endpoint=endpoint,
        most=most,
    )
    rows = reader.rows()
    if not rows and not reader.problems:
        reader.problems.append(Problem("file", "", "there is no request in it"))
    if reader.problems:
        raise BatchInvalid(raw.name, reader.problems)
    return Batch(name or Path(raw.name).stem, tuple(rows))


class _Reader:
    def __init__(
        self,
        raw: RawBatch,
        *,
        defaults: dict[str, Any],
        overrides: dict[str, Any],
        matrix: dict[str, Any],
        endpoint: str | None,
        most: int,
    ) -> None:
        self._raw = raw
        self._defaults, self._overrides = defaults, overrides
        self._endpoint = endpoint
        self._most = most
        self.problems = list(raw.problems)
        self._missing: dict[str, bool] = {}
        self._check_names("defaults", defaults)
        self._check_names("overrides", overrides)
        self._axes = self._axes_of(matrix)
        if raw.from_table and raw.rows:
            self._check_names("header", raw.rows[0].values)

    def rows(self) -> list[Row]:
        """Every request, in order; what is wrong with the others is in `problems`."""
        sources = [(each.where, each.values) for each in self._raw.rows]
        if not sources and self._axes and not self._raw.problems:
            sources = [("matrix", {})]
        try:
            combinations = list(expand(self._axes, max(1, len(sources)), self._most)) if sources else []
        except MatrixTooLarge as error:
            what = str(error) if self._axes else f"{len(sources):,} rows, and {self._most:,} is the ceiling"
            self.problems.append(Problem("matrix" if self._axes else "file", "", what))
            return []
        found: list[Row] = []
        place = 0
        for where, values in sources:
            row = self._row_values(where, values)
            for combination in combinations:
                place += 1
                if made := self._row(place, where, row, combination):
                    found.append(made)
        # A row that is multiplied out has its problems many times.
        self.problems = list(dict.fromkeys(self.problems))
        return found

    def _axes_of(self, matrix: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
        axes: dict[str, Sequence[Any]] = {}
        for given, values in matrix.items():
            name = ALIASES.get(given, given)
            try:
                axes[name] = values_of(values)
            except ValueError as error:
                self.problems.append(Problem("matrix", given, str(error)))
        self._check_names("matrix", axes)
        return axes

    def _check_names(self, where: str, names: Iterable[str]) -> None:
        for name in names:
            if name and name not in _KNOWN:
                self.problems.append(Problem(where, name, _unknown(name)))

    def _row_values(self, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
        if not self._raw.from_table:
            row = {name: value for name, value in values.items() if value is not None}
        else:
            row, wrong = row_from_cells(values)
            self.problems += [Problem(where, name, what) for name, what in wrong.items()]
        twice = [name for name in self._axes if name in row]
        self.problems += [Problem(where, name, "given by the row and by the matrix") for name in twice]
        return row

    def _row(self, place: int, where: str, row: Mapping[str, Any], matrix: Mapping[str, Any]) -> Row | None:
        merged = {**self._defaults, **row, **matrix, **self._overrides}
        own = {name: merged.pop(name, None) for name in OWN_COLUMNS}
        merged = {
            name: _media(value, self._raw.folder) if name in _MEDIA else value
            for name, value in merged.items()
        }
        if isinstance(extras := merged.get("extra_arguments"), dict):
            merged["extra_arguments"] = extras | {
                name: _media(value, self._raw.folder) for name, value in extra_media(extras).items()
            }
        if "resolution" in merged:
            merged["resolution"] = size(merged["resolution"])
        if self._raw.from_table:  # its unknown columns were reported once, with the header
            merged = {name: value for name, value in merged.items() if name in _KNOWN}
        model = _model_of(merged, own["endpoint"] or self._endpoint)
        if model is not None:
            merged = self._fitted(model, merged, {*row, *matrix})
        before = len(self.problems)
        tags = self._tags(where, own["tags"])
        request = self._request(where, merged, own["endpoint"] or self._endpoint)
        self._check_files(where, merged)
        if request is None or len(self.problems) > before:
            return None
        return Row(place, where, request, id=str(own["id"] or ""), tags=tags)

    def _fitted(
        self, model: type[GenerationRequest], merged: Mapping[str, Any], of_row: set[str]
    ) -> dict[str, Any]:
        """Without the defaults that only the other endpoint has, and with `strength` under its name there.

        fal's own `strength` is meant beside `preserve_original_video`, or beside the other strength by its name.
        """
        fitted: dict[str, Any] = {}
        is_fals = "strength" in model.model_fields and (
            merged.get("preserve_original_video") or merged.get(_STRENGTH[model]) is not None
        )
        for name, value in merged.items():
            if name == "strength" and not is_fals:
                fitted.setdefault(_STRENGTH[model], value)
            elif name in model.model_fields or name not in _FIELDS or name in of_row:
                fitted[name] = value
        return fitted

    def _request(self, where: str, values: Mapping[str, Any], endpoint: Any) -> GenerationRequest | None:
        try:
            return parse_request(values, str(endpoint).strip() if endpoint else None)
        except FalRequestInvalid as error:
            if not error.fields:
                self.problems.append(Problem(where, "endpoint" if endpoint else "", error.what))
            for each in error.fields:
                self.problems.append(Problem(where, ".".join(str(part) for part in each.loc), each.msg))
        return None

    def _tags(self, where: str, value: Any) -> tuple[str, ...]:
        tags = [value] if isinstance(value, str) else value or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag.strip() for tag in tags):
            self.problems.append(Problem(where, "tags", "a list of words is needed"))
            return ()
        return tuple(tags)

    def _check_files(self, where: str, values: Mapping[str, Any]) -> None:
        extras = values.get("extra_arguments")
        sources = {name: values[name] for name in sorted(_MEDIA & set(values))}
        sources |= extra_media(extras) if isinstance(extras, dict) else {}
        for name, source in sources.items():
            path = _local(source) if isinstance(source, str) and source.strip() else None
            if path is None:
                continue
            if source not in self._missing:
                self._missing[source] = not path.is_file()
            if self._missing[source]:
                self.problems.append(Problem(where, name, f"there is no file {path}"))


def _model_of(values: Mapping[str, Any], endpoint: Any) -> type[GenerationRequest] | None:
    if endpoint:
        wanted = str(endpoint).strip()
        return next((m for m in _MODELS if wanted in (m.ENDPOINT, m.ENDPOINT.rpartition("/")[2])), None)
    if values.get("video_url") is not None:
        return ReferenceVideoRequest
    return IngredientRequest if values.get("image_url") is not None else None


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _KNOWN, n=1)
    hint = f"did you mean {close[0]}?" if close else "one that fal has added since goes into extra_arguments"
    return f"no such field; {hint}"


def _media(value: Any, folder: Path | str | None) -> Any:
    if not isinstance(value, str) or folder is None or not value.strip():
        return value
    if "://" in value or value[:5].lower() == "data:":
        return value
    if isinstance(folder, str):
        # s3://bucket/prefix; an absolute path is one of the machine that runs the batch.
        return value if value[0] in "/~" else f"{folder}/{value.removeprefix('./')}"
    return str(folder / Path(value).expanduser())


def _local(source: str) -> Path | None:
    parts = urlsplit(source[:4096])
    if parts.scheme in ("http", "https", "s3", "data"):
        return None
    return Path(unquote(parts.path) if parts.scheme == "file" else source).expanduser()
