"""A batch as one mapping that stands for itself: what is relative in it is made absolute, so that it can be kept in a
file of our own and read from there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefect_ltx.batch.cells import row_from_cells
from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.sources import read_source
from prefect_ltx.fal import MEDIA_KINDS, extra_media
from prefect_ltx.reading import Unreadable, placed


def standalone(
    source: str | Path | Iterable[Any] | Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    matrix: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The name of a batch, and the batch as a JSON file holds it: `read_batch` makes the same requests of it.

    Raises:
        BatchInvalid: it cannot be read. Nothing was sent or spent.
    """
    raw = read_source(source)
    if raw.problems:
        raise BatchInvalid(raw.name, raw.problems)
    folder = Path.cwd() if raw.folder is None else raw.folder
    parts = {
        "defaults": {**raw.defaults, **(defaults or {})},
        "overrides": {**raw.overrides, **(overrides or {})},
        "matrix": {**raw.matrix, **(matrix or {})},
    }
    rows: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    for row in raw.rows:
        values: Mapping[str, Any] = row.values
        if raw.header is not None:
            values, wrong = row_from_cells(values, decimal_comma=raw.decimal_comma)
            problems += [
                Problem(row.where, name, what).at(row.place((name,))) for name, what in wrong.items()
            ]
        rows.append(values)
    if problems:
        raise BatchInvalid(raw.name, problems)
    try:
        found: dict[str, Any] = {name: _absolute(values, folder) for name, values in parts.items() if values}
        found["rows"] = [_absolute(row, folder) for row in rows]
    except Unreadable as error:
        raise BatchInvalid(raw.name, [Problem("file", "", error.what)]) from None
    return Path(raw.name).stem, found


def _absolute(values: Mapping[str, Any], folder: Path | str) -> dict[str, Any]:
    found = dict(values)
    for name in MEDIA_KINDS.keys() & found.keys():
        value = found[name]
        if isinstance(value, str):
            found[name] = placed(value, folder)
        elif isinstance(value, list):  # an axis of a matrix
            found[name] = [placed(each, folder) if isinstance(each, str) else each for each in value]
    if isinstance(extras := found.get("extra_arguments"), dict):
        found["extra_arguments"] = extras | {
            name: placed(value, folder) for name, value in extra_media(extras).items()
        }
    return found
