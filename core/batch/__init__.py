"""A batch of requests: read as somebody wrote it, checked before anything is spent, planned, and carried out."""

from prefect_ltx.batch.matrix import MatrixTooLarge, expand
from prefect_ltx.batch.plan import BatchPlan, PlannedRow, batch_tag, plan_rows, purchases_of, summary
from prefect_ltx.batch.problems import BatchInvalid, Problem
from prefect_ltx.batch.read import MOST_ROWS, Batch, CheckedBatch, check_batch, read_batch
from prefect_ltx.batch.results import RESULT_COLUMNS, BatchReport, RowResult, result_rows, results_table
from prefect_ltx.batch.rows import Row
from prefect_ltx.batch.run import BatchRun
from prefect_ltx.batch.sources import RawBatch, RawRow, read_source

__all__ = [
    "MOST_ROWS",
    "RESULT_COLUMNS",
    "Batch",
    "BatchInvalid",
    "BatchPlan",
    "BatchReport",
    "BatchRun",
    "CheckedBatch",
    "MatrixTooLarge",
    "PlannedRow",
    "Problem",
    "RawBatch",
    "RawRow",
    "Row",
    "RowResult",
    "batch_tag",
    "check_batch",
    "expand",
    "plan_rows",
    "purchases_of",
    "read_batch",
    "read_source",
    "result_rows",
    "results_table",
    "summary",
]
