"""Carrying out one generation: plan, submit once, wait, collect, archive, cancel, sweep. No Prefect in here.

`prefect_ltx.ledger` decides; this room acts on what it decided.
"""

from prefect_ltx.generation.cancel import cancel
from prefect_ltx.generation.collect import CollectedVideo, clean_up, collect
from prefect_ltx.generation.errors import (
    GenerationEnded,
    GenerationParked,
    GenerationStopped,
    PaidVideoLost,
    StillWaiting,
    TakeNotMade,
)
from prefect_ltx.generation.inputs import InputMedia, MediaDigest, fetch_input, fetch_inputs
from prefect_ltx.generation.lease import hold
from prefect_ltx.generation.life import Order, Steps, begin, finish, generate
from prefect_ltx.generation.options import Options
from prefect_ltx.generation.paid import PaidVideoWaits
from prefect_ltx.generation.plan import (
    NO_ACCOUNT,
    Estimate,
    PlannedGeneration,
    PlanReport,
    Prepared,
    draw_seed,
    ledger_plan,
    plan_request,
    prepare,
)
from prefect_ltx.generation.poller import Poller
from prefect_ltx.generation.progress import CHECKPOINTS, Progress, observe, tell
from prefect_ltx.generation.retake import Takes
from prefect_ltx.generation.services import Services, budget_from, client_from
from prefect_ltx.generation.shared_inputs import SharedInputs
from prefect_ltx.generation.sharing import refuse_unshared
from prefect_ltx.generation.steps import Run, plain_steps
from prefect_ltx.generation.store import ArchivedGeneration, archived, archived_before, store
from prefect_ltx.generation.submit import submit_once
from prefect_ltx.generation.upload import UploadedMedia, upload
from prefect_ltx.generation.usable import refuse_unusable_places
from prefect_ltx.generation.wait import outcome, wait_for, with_price

__all__ = [
    "CHECKPOINTS",
    "NO_ACCOUNT",
    "ArchivedGeneration",
    "CollectedVideo",
    "Estimate",
    "GenerationEnded",
    "GenerationParked",
    "GenerationStopped",
    "InputMedia",
    "MediaDigest",
    "Options",
    "Order",
    "PaidVideoLost",
    "PaidVideoWaits",
    "PlanReport",
    "PlannedGeneration",
    "Poller",
    "Prepared",
    "Progress",
    "Run",
    "Services",
    "SharedInputs",
    "Steps",
    "StillWaiting",
    "TakeNotMade",
    "Takes",
    "UploadedMedia",
    "archived",
    "archived_before",
    "begin",
    "budget_from",
    "cancel",
    "clean_up",
    "client_from",
    "collect",
    "draw_seed",
    "fetch_input",
    "fetch_inputs",
    "finish",
    "generate",
    "hold",
    "ledger_plan",
    "observe",
    "outcome",
    "plain_steps",
    "plan_request",
    "prepare",
    "refuse_unshared",
    "refuse_unusable_places",
    "store",
    "submit_once",
    "tell",
    "upload",
    "wait_for",
    "with_price",
]
