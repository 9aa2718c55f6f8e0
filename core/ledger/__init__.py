"""The life of one generation as a pure state machine, and the database that remembers it.

The promise: a generation is paid for once, and a paid video is never lost.
"""

from prefect_ltx.ledger.announcing import Announcement
from prefect_ltx.ledger.deliveries import Delivery, Receipt
from prefect_ltx.ledger.errors import (
    BudgetExceeded,
    GenerationNotFound,
    KeyNotComputable,
    LeaseLost,
    LedgerError,
    LedgerSchemaUnknown,
    LedgerUnavailable,
    NotRecordable,
    PlanInvalid,
    PostNotPermitted,
    RequestClaimed,
)
from prefect_ltx.ledger.key import generation_key, generation_keys
from prefect_ltx.ledger.ledger import Ledger
from prefect_ltx.ledger.life.budget import BudgetLimit, BudgetStatus
from prefect_ltx.ledger.life.events import (
    Accepted,
    Archived,
    CancelAnswered,
    CancelRequested,
    Collected,
    Event,
    Found,
    NotSent,
    OwnerLost,
    PostStarted,
    ProvablyAbsent,
    Rejected,
    RemoteCancelled,
    RemoteCompleted,
    RemoteFailed,
    ReplyLost,
    Resolved,
    ResultGone,
    Settled,
    Undecidable,
    WebhookReceived,
)
from prefect_ltx.ledger.life.machine import Step, advance, todo
from prefect_ltx.ledger.life.reconcile import Wait, match
from prefect_ltx.ledger.life.snapshot import Effect, Snapshot
from prefect_ltx.ledger.life.states import CLOSED, LIVE, RANK, UNFINISHED, State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.records import Claim, DoubleCharge, Drift, Generation, LedgerEvent, Plan, Stray, Total
from prefect_ltx.ledger.spend import Period, Spend
from prefect_ltx.ledger.watching import BudgetLow, Moved, News, unwatch, watch

__all__ = [
    "CLOSED",
    "LIVE",
    "RANK",
    "UNFINISHED",
    "Accepted",
    "Announcement",
    "Archived",
    "BudgetExceeded",
    "BudgetLimit",
    "BudgetLow",
    "BudgetStatus",
    "CancelAnswered",
    "CancelRequested",
    "Claim",
    "Collected",
    "Delivery",
    "DoubleCharge",
    "Drift",
    "Effect",
    "Event",
    "Found",
    "Generation",
    "GenerationNotFound",
    "KeyNotComputable",
    "LeaseLost",
    "Ledger",
    "LedgerError",
    "LedgerEvent",
    "LedgerSchemaUnknown",
    "LedgerUnavailable",
    "Moved",
    "News",
    "NotRecordable",
    "NotSent",
    "Owner",
    "OwnerLost",
    "Period",
    "Plan",
    "PlanInvalid",
    "PostNotPermitted",
    "PostStarted",
    "ProvablyAbsent",
    "Receipt",
    "Rejected",
    "RemoteCancelled",
    "RemoteCompleted",
    "RemoteFailed",
    "ReplyLost",
    "RequestClaimed",
    "Resolved",
    "ResultGone",
    "Settled",
    "Snapshot",
    "Spend",
    "State",
    "Step",
    "Stray",
    "Total",
    "Undecidable",
    "Wait",
    "WebhookReceived",
    "advance",
    "generation_key",
    "generation_keys",
    "match",
    "todo",
    "unwatch",
    "watch",
]
