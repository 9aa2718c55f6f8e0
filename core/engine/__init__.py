"""Carrying out one generation: plan, submit once, wait, collect, archive, cancel, sweep. No Prefect in here.

`prefect_ltx.ledger` decides; this room acts on what it decided.
"""

from prefect_ltx.engine.batch_plan import BatchPlan, PlannedRow, batch_tag, plan_rows, summary
from prefect_ltx.engine.batch_run import BatchReport, BatchRun, RowResult
from prefect_ltx.engine.cancel import cancel
from prefect_ltx.engine.collect import CollectedVideo, clean_up, collect
from prefect_ltx.engine.errors import (
    GenerationEnded,
    GenerationParked,
    GenerationStopped,
    PaidVideoLost,
    StillWaiting,
)
from prefect_ltx.engine.in_flight import InFlightReport, ask_in_flight
from prefect_ltx.engine.inputs import InputMedia, MediaDigest, fetch_input, fetch_inputs
from prefect_ltx.engine.lease import hold
from prefect_ltx.engine.one import Run, archived_before, finish, generate
from prefect_ltx.engine.plan import (
    NO_ACCOUNT,
    Estimate,
    PlannedGeneration,
    PlanReport,
    draw_seed,
    ledger_plan,
    plan_request,
    prepare,
)
from prefect_ltx.engine.poller import Poller
from prefect_ltx.engine.progress import CHECKPOINTS, Progress, observe, tell
from prefect_ltx.engine.services import Options, Services, budget_from, in_thread
from prefect_ltx.engine.shared_inputs import SharedInputs
from prefect_ltx.engine.sharing import refuse_unshared
from prefect_ltx.engine.store import ArchivedGeneration, archived, store
from prefect_ltx.engine.submit import submit_once
from prefect_ltx.engine.sweep import SweepItem, SweepReport, sweep_all
from prefect_ltx.engine.upload import UploadedMedia, upload
from prefect_ltx.engine.wait import outcome, wait_for, with_price

__all__ = [
    "CHECKPOINTS",
    "NO_ACCOUNT",
    "ArchivedGeneration",
    "BatchPlan",
    "BatchReport",
    "BatchRun",
    "CollectedVideo",
    "Estimate",
    "GenerationEnded",
    "GenerationParked",
    "GenerationStopped",
    "InFlightReport",
    "InputMedia",
    "MediaDigest",
    "Options",
    "PaidVideoLost",
    "PlanReport",
    "PlannedGeneration",
    "PlannedRow",
    "Poller",
    "Progress",
    "RowResult",
    "Run",
    "Services",
    "SharedInputs",
    "StillWaiting",
    "SweepItem",
    "SweepReport",
    "UploadedMedia",
    "archived",
    "archived_before",
    "ask_in_flight",
    "batch_tag",
    "budget_from",
    "cancel",
    "clean_up",
    "collect",
    "draw_seed",
    "fetch_input",
    "fetch_inputs",
    "finish",
    "generate",
    "hold",
    "in_thread",
    "ledger_plan",
    "observe",
    "outcome",
    "plan_request",
    "plan_rows",
    "prepare",
    "refuse_unshared",
    "store",
    "submit_once",
    "summary",
    "sweep_all",
    "tell",
    "upload",
    "wait_for",
    "with_price",
]
