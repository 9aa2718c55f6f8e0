"""From a source to requests: defaults, row, matrix and overrides put together, every row checked.

Everything that is wrong is found before anything is spent, and all of it is reported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.rows import Row, RowReader
from prefect_ltx.batch.sources import read_source
from prefect_ltx.fal.sendable import unsendable

MOST_ROWS: Final = 10_000
"""The ceiling of a batch unless it is raised: what a slip of the hand in a matrix may cost."""


@dataclass(frozen=True)
class Batch:
    """A checked batch: every row is a valid request and every local file in it exists."""

    name: str
    rows: tuple[Row, ...] = field(repr=False)


def read_batch(
    source: str | Path | Iterable[Any] | Mapping[str, Any],
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
    found = check_batch(
        source,
        defaults=defaults,
        overrides=overrides,
        matrix=matrix,
        endpoint=endpoint,
        name=name,
        most=most,
    )
    if found.problems:
        raise BatchInvalid(found.source, found.problems)
    return found.batch


@dataclass(frozen=True)
class CheckedBatch:
    """The rows of a source that can be run, and all that is wrong with the others."""

    batch: Batch
    problems: list[Problem]
    source: str
    """The source's own name."""
    is_one: bool
    """Whether it is one request, and no list of them."""


def check_batch(
    source: str | Path | Iterable[Any] | Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    matrix: Mapping[str, Any] | None = None,
    endpoint: str | None = None,
    name: str = "",
    most: int = MOST_ROWS,
    look_for_files: bool = True,
) -> CheckedBatch:
    """As `read_batch`, with the rows that are right beside the problems: for a plan.

    Raises:
        BatchInvalid: nothing of the source can be read.
    """
    raw = read_source(source)
    problems = [
        Problem(part, ".".join(map(str, path)), what)
        for part, values in (("defaults", defaults), ("overrides", overrides), ("matrix", matrix))
        for path, what in unsendable(values or {})
    ]
    if problems:
        raise BatchInvalid(raw.name, [*raw.problems, *problems])
    reader = RowReader(
        raw,
        defaults={**raw.defaults, **(defaults or {})},
        overrides={**raw.overrides, **(overrides or {})},
        matrix={**raw.matrix, **(matrix or {})},
        endpoint=endpoint,
        most=most,
        look_for_files=look_for_files,
    )
    rows = reader.rows()
    if not rows and not reader.problems:
        reader.problems.append(Problem("file", "", "there is no request in it"))
    # A row that is multiplied out has its problems many times.
    unique = list(dict.fromkeys(reader.problems))
    return CheckedBatch(Batch(name or Path(raw.name).stem, tuple(rows)), unique, raw.name, raw.is_one)
