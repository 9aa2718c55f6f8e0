"""Carrying out a planned batch: at most N in flight, first come first served, each row with its own end.

A row that fails stops nothing; what would fail every row (the key, the account, the ledger, the archive) stops
the rows that have not begun, so that nothing is bought that could not be kept.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from prefect_ltx.archive import ArchiveDenied, ArchiveUnavailable
from prefect_ltx.batch.plan import PlannedRow, batch_tag
from prefect_ltx.batch.results import BatchReport, RowResult, RowStatus
from prefect_ltx.fal import (
    FalAuthenticationError,
    FalError,
    FalGenerationCancelled,
    FalPermissionDenied,
    plain,
)
from prefect_ltx.generation.errors import (
    GenerationParked,
    PaidVideoLost,
    QualityRejected,
    StillWaiting,
    TakeNotMade,
)
from prefect_ltx.generation.inspection import QualityMode
from prefect_ltx.generation.life import Order, generate, row_of
from prefect_ltx.generation.plan import Prepared, looked_up
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.retake import SEEDS, Takes
from prefect_ltx.generation.steps import Run
from prefect_ltx.generation.store import ArchivedGeneration
from prefect_ltx.ledger import (
    LedgerSchemaUnknown,
    LedgerUnavailable,
    Owner,
    State,
)
from prefect_ltx.media import Recipe

AHEAD = 16
"""Rows beyond those at fal that may be between the queue and the archive."""

STOPS_ALL = (
    FalAuthenticationError,
    FalPermissionDenied,
    LedgerUnavailable,
    LedgerSchemaUnknown,
    ArchiveDenied,
    ArchiveUnavailable,
    OSError,
)


def _this_process() -> Owner:
    return Owner.here(announces_posts=True)


@dataclass
class BatchRun:
    """The rows of one batch on their way. `on_end` is called once a row, in the event loop, and must be quick."""

    run: Run
    name: str
    rows: Sequence[PlannedRow]
    at_fal: int
    recipe: str | Recipe = "web"
    quality: QualityMode = "off"
    max_seeds: int = SEEDS
    """How many seeds a row may try with `quality` "next_seed"."""
    flow_run_id: str | None = None
    tags: tuple[str, ...] = ()
    on_end: Callable[[RowResult], None] | None = None
    new_owner: Callable[[], Owner] = _this_process
    """Who works on a row: an owner for each."""
    ended: dict[int, RowResult] = field(default_factory=dict)
    working_on: set[str] = field(default_factory=set)
    """Keys of the rows that are under way."""

    def __post_init__(self) -> None:
        self.run.services.identity.check()
        self._began = time.monotonic()
        self._firsts: dict[int, asyncio.Future[RowResult]] = {}
        self._places = asyncio.Semaphore(self.at_fal + AHEAD)
        self._stopped = ""

    async def do(self, planned: PlannedRow) -> RowResult:
        """Bring one row to its end. Raises nothing of the row's own; call it for every row, in their order."""
        try:
            result = await self._shared(planned) if planned.same_as else await self._first(planned)
        except asyncio.CancelledError:
            self._end(
                self._result(planned, "cancelled", "the run was stopped; running it again goes on from here")
            )
            raise
        self._end(result)
        return result

    def report(self) -> BatchReport:
        """How it stands; rows that did not begin are in it as well."""
        rows = [
            self.ended.get(each.row.place)
            or self._result(each, "not_started", self._stopped or "the run was stopped before it")
            for each in self.rows
        ]
        return BatchReport(
            name=self.name,
            archive=self.run.services.archive.location,
            rows=rows,
            seconds=time.monotonic() - self._began,
            spent_usd=sum((row.spent_usd for row in rows if row.same_as is None), Decimal(0)),
        )

    async def _first(self, planned: PlannedRow) -> RowResult:
        end = self._firsts.setdefault(planned.row.place, asyncio.get_running_loop().create_future())
        try:
            async with self._places:
                result = await self._made(planned)
        except BaseException:
            end.cancel()
            raise
        end.set_result(result)
        return result

    async def _shared(self, planned: PlannedRow) -> RowResult:
        assert planned.same_as is not None
        first = self._firsts.setdefault(planned.same_as, asyncio.get_running_loop().create_future())
        result = await asyncio.shield(first)
        row = planned.row
        return result.model_copy(
            update={"row": row.place, "where": row.where, "id": row.id, "same_as": planned.same_as}
        )

    async def _made(self, planned: PlannedRow) -> RowResult:
        if self._stopped:
            return self._result(planned, "not_started", self._stopped)
        self.working_on.add(planned.plan.key)
        takes = Takes(self.quality, self.max_seeds)
        try:
            made = await self._brought(planned, takes)
        except QualityRejected as error:
            assert takes.last is not None
            return self._archived(planned, takes.last, takes, rejected="; ".join(error.reasons))
        except Exception as error:
            result = await self._failed(planned, takes, error)
            return result.model_copy(update={"refused": takes.refused, "spent_usd": takes.spent_usd})
        finally:
            self.working_on.discard(planned.plan.key)
        return self._archived(planned, made, takes)

    async def _brought(self, planned: PlannedRow, takes: Takes) -> ArchivedGeneration:
        """The row's video, or that of the first of its next seeds that quality control does not refuse."""
        plan = planned.plan
        if planned.status == "archived":
            # Looked up when the batch was planned, which may be hours ago.
            plan = await looked_up(self.run.services, plan)
        order = Order(
            self.new_owner(),
            self.flow_run_id,
            (batch_tag(self.name), *self.tags, *planned.row.tags),
            self.recipe,
            self.quality,
        )
        ready = Prepared(plan, planned.request, await self.run.inputs.media(planned.request))
        return await generate(self.run.steps(), ready, order, takes)

    async def _failed(self, planned: PlannedRow, takes: Takes, error: Exception) -> RowResult:
        cause = error.error if isinstance(error, TakeNotMade) else error
        if isinstance(cause, STOPS_ALL) and not self._stopped:
            self._stopped = (
                f"not begun, because row {planned.row.place} showed that none can go on: {reason_of(cause)}"
            )
        status: RowStatus = "failed"
        for kind, name in _ENDS:
            if isinstance(cause, kind):
                status = name
        found = await row_of(self.run.services, takes.plan or planned.plan, cause)
        if found is not None and found.state is State.CANCELLED:
            status = "cancelled"
        result = self._result(planned, status, reason_of(error))
        if found is None:
            return result
        return result.model_copy(
            update={
                "generation_id": found.id,
                "request_id": found.request_id,
                "held_usd": Decimal(0) if found.state is State.ARCHIVED else found.held_usd,
            }
        )

    def _archived(
        self, planned: PlannedRow, made: ArchivedGeneration, takes: Takes, *, rejected: str = ""
    ) -> RowResult:
        status: RowStatus = "rejected" if rejected else "reused" if made.reused else "archived"
        result = self._result(planned, status, rejected)
        findings = made.quality.findings if made.quality else []
        return result.model_copy(
            update={
                "generation_id": made.generation_id,
                "request_id": made.request_id,
                "seed": made.seed,
                "folder": made.folder,
                "video": made.video,
                "files": made.files,
                **_delivered(made),
                "price_expected_usd": made.price_expected_usd,
                "price_billed_usd": made.price_billed_usd,
                "differences": made.differences,
                "findings": [f"{each.kind}: {each.message}" for each in findings],
                "refused": [each for each in takes.refused if each.generation_id != made.generation_id],
                "spent_usd": takes.spent_usd,
            }
        )

    def _result(self, planned: PlannedRow, status: RowStatus, reason: str) -> RowResult:
        return RowResult(
            row=planned.row.place,
            where=planned.row.where,
            id=planned.row.id,
            endpoint=planned.request.ENDPOINT,
            status=status,
            reason=reason,
            same_as=planned.same_as,
            seed=planned.plan.seed,
            size=f"{planned.plan.estimate.width}x{planned.plan.estimate.height}",
            num_frames=planned.plan.estimate.num_frames,
            price_expected_usd=planned.plan.estimate.price_expected_usd,
        )

    def _end(self, result: RowResult) -> None:
        self.ended[result.row] = result
        done, total = len(self.ended), len(self.rows)
        why = f": {result.reason}" if result.reason else ""
        tell("row", result.generation_id or "", f"row {result.row} {result.status}{why}", done / total)
        if self.on_end is not None:
            self.on_end(result)


_ENDS: tuple[tuple[type[Exception], RowStatus], ...] = (
    (GenerationParked, "parked"),
    (PaidVideoLost, "lost"),
    (StillWaiting, "waiting"),
    (FalGenerationCancelled, "cancelled"),
)


def _delivered(made: ArchivedGeneration) -> dict[str, Any]:
    # Bytes that do not decode have no size.
    size = {"size": f"{made.width}x{made.height}"} if made.width and made.height else {}
    return size | ({"num_frames": made.num_frames} if made.num_frames else {})


def reason_of(error: BaseException) -> str:
    """An error as one line without a secret."""
    ours = isinstance(error, FalError) or type(error).__module__.startswith("prefect_ltx.")
    if isinstance(error, OSError) and not ours:
        return plain(": ".join(str(each) for each in (error.filename, error.strerror) if each) or "I/O error")
    text = str(error) if ours else f"unexpected {type(error).__name__}: {error}"
    return plain(text or type(error).__name__, limit=500)
