"""How the rows of a batch ended: as values, and as a table for whoever sent the requests as one."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import BaseModel

from prefect_ltx.generation.store import RefusedTake
from prefect_ltx.table_files import table_bytes

RowStatus = Literal[
    "archived", "reused", "rejected", "failed", "parked", "lost", "waiting", "cancelled", "not_started"
]
"""`rejected`: the video is paid for and archived, and the batch's quality policy refuses it."""

RESULT_COLUMNS: Final = (
    "row",
    "id",
    "where",
    "status",
    "reason",
    "same_as",
    "endpoint",
    "seed",
    "size",
    "num_frames",
    "price_expected_usd",
    "price_billed_usd",
    "spent_usd",
    "held_usd",
    "takes_refused",
    "findings",
    "differences",
    "video",
    "files",
    "folder",
    "generation_id",
    "request_id",
)


class RowResult(BaseModel, frozen=True):
    """How one row ended, and why. Prices in USD."""

    row: int
    """The request's place in the batch, from 1."""
    where: str
    id: str
    endpoint: str
    status: RowStatus
    reason: str = ""
    same_as: int | None = None
    """The row whose video this one shares: both ask for the very same thing."""
    seed: int
    generation_id: str | None = None
    request_id: str | None = None
    folder: str | None = None
    video: str | None = None
    files: dict[str, str] = {}
    """Role to place in the archive, for the video and every rendition."""
    size: str = ""
    """Of the delivered video, in pixels as 1280x720; as asked for without a delivery."""
    num_frames: int | None = None
    """The same, in frames."""
    price_expected_usd: Decimal
    price_billed_usd: Decimal | None = None
    """What fal billed for the video, whichever run bought it."""
    differences: list[str] = []
    findings: list[str] = []
    """What quality control found in the video."""
    refused: list[RefusedTake] = []
    """Takes with other seeds that quality control refused before this one."""
    spent_usd: Decimal = Decimal(0)
    """What this run bought for the row, refused takes among it."""
    held_usd: Decimal = Decimal(0)
    """What a row without a video may have cost all the same: held against the budget."""

    @property
    def ok(self) -> bool:
        """Whether the row's video is in the archive, and not refused."""
        return self.status in ("archived", "reused")


class BatchReport(BaseModel):
    """Every row with its end, in the order of the batch."""

    name: str
    archive: str
    rows: list[RowResult]
    seconds: float
    spent_usd: Decimal
    """For what this run bought: billed where fal said so, expected where it did not yet."""

    @property
    def held_usd(self) -> Decimal:
        """What rows without a video may have cost beyond that."""
        return sum((row.held_usd for row in self.rows if row.same_as is None), Decimal(0))

    @property
    def ok(self) -> bool:
        """Whether every row's video is in the archive, and not refused."""
        return all(row.ok for row in self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows ended in which way."""
        return dict(Counter(row.status for row in self.rows))


def result_rows(report: BatchReport) -> Iterator[dict[str, Any]]:
    """A mapping of `RESULT_COLUMNS` for each row: amounts in USD, `size` in pixels as 1280x720."""
    for row in report.rows:
        found = {name: getattr(row, name, None) for name in RESULT_COLUMNS}
        yield found | {"files": list(row.files.values()), "takes_refused": len(row.refused)}


def results_table(report: BatchReport, suffix: str = ".csv") -> bytes:
    """The report as a file's content: `.csv`, `.xlsx` or `.jsonl`."""
    return table_bytes(RESULT_COLUMNS, result_rows(report), suffix)
