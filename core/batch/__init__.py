"""A batch of requests as somebody wrote it: read, filled in, multiplied out, and checked before anything is spent."""

from prefect_ltx.batch.matrix import MatrixTooLarge, expand
from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.read import MOST_ROWS, Batch, Row, read_batch
from prefect_ltx.batch.sources import RawBatch, RawRow, read_source

__all__ = [
    "MOST_ROWS",
    "Batch",
    "BatchInvalid",
    "MatrixTooLarge",
    "Problem",
    "RawBatch",
    "RawRow",
    "Row",
    "expand",
    "read_batch",
    "read_source",
]
