"""What the command line shows of a ledger row: everything that explains the money, nothing that opens a door.

Left out: the webhook nonce, paths of this machine's work files, and the query of every URL (it may be a
signature).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prefect_ltx.ledger import Generation, LedgerEvent, Spend, Stop
    from prefect_ltx.ledger.accounting import Grouping


def generation_facts(row: "Generation") -> dict[str, Any]:
    """One row, as names and JSON-like values in the order in which a person reads them."""
    return {
        "id": row.id,
        "state": str(row.state),
        "reason": row.reason,
        "endpoint": row.endpoint,
        "request_id": row.request_id,
        "attempt": row.attempt,
        "seed": row.seed,
        "seed_drawn": row.seed_drawn,
        "price_expected_usd": row.price_expected_usd,
        "price_upper_usd": row.price_upper_usd,
        "held_usd": row.held_usd,
        "settled_usd": row.settled_usd,
        "settled_by": row.settled_by,
        "billable_units": None if row.units is None else str(row.units),
        "billed": row.billed,
        "cancel": None if row.cancel == "none" else row.cancel,
        "cancel_by": row.cancel_by,
        "tags": list(row.tags),
        "flow_run_id": row.flow_run_id,
        "created_at": row.created_at,
        "submitted_at": row.submitted_at,
        "completed_at": row.completed_at,
        "collected_at": row.collected_at,
        "closed_at": row.closed_at,
        "sha256": row.sha256,
        "size": row.size,
        "location": row.location,
        "folder": row.folder,
        "key": row.key,
        "account": row.account,
        "body": without_queries(row.body),
    }


GENERATION_COLUMNS: Final = (
    "id",
    "state",
    "reason",
    "endpoint",
    "tags",
    "seed",
    "size",
    "num_frames",
    "price_expected_usd",
    "held_usd",
    "price_billed_usd",
    "billed_by",
    "findings",
    "location",
    "folder",
    "bytes",
    "sha256",
    "created_at",
    "closed_at",
    "request_id",
    "flow_run_id",
    "prompt",
)


def generation_row(row: "Generation") -> dict[str, Any]:
    """One row of the ledger as a row of a table: amounts in USD, times in UTC, what was delivered in pixels."""
    seen = {**row.asked, **row.facts}
    return generation_facts(row) | {
        "size": f"{seen['width']}x{seen['height']}" if seen.get("width") and seen.get("height") else "",
        "num_frames": seen.get("num_frames"),
        "price_billed_usd": row.settled_usd,
        "billed_by": row.settled_by,
        "findings": list(row.oddities),
        "bytes": row.size,
        "prompt": row.body.get("prompt"),
    }


def event_facts(event: "LedgerEvent") -> dict[str, Any]:
    """One line of a row's history."""
    return {
        "at": event.at,
        "event": event.event,
        "from_state": str(event.from_state),
        "to_state": str(event.to_state),
        "outcome": event.outcome,
        "because": event.because,
        "attempt": event.attempt,
        "actor": event.actor,
        "detail": dict(event.detail),
    }


def spend_facts(found: "Spend", by: "Grouping") -> dict[str, Any]:
    """The money of a period, and one of its groupings, as names and JSON-like values."""
    return {
        "by": by,
        "since": found.period.since,
        "until": found.period.until,
        "generations": found.generations,
        "expected_usd": found.expected_usd,
        "held_usd": found.held_usd,
        "billed_usd": found.billed_usd,
        "difference_usd": found.difference_usd,
        "reuses": found.reuses,
        "saved_usd": found.saved_usd,
        "lost": [each.id for each in found.lost],
        "parked": [each.id for each in found.parked],
        "double_charges": [each.id for each in found.double_charges],
        "stops": [stop_facts(each) for each in found.stops],
        "totals": found.by[by],
        "budgets": [
            {
                "limit": str(each.limit),
                "limit_usd": each.limit.usd,
                "held_usd": each.held_usd,
                "settled_usd": each.settled_usd,
                "left_usd": each.left_usd,
            }
            for each in found.budgets
        ],
    }


def stop_facts(stop: "Stop") -> dict[str, Any]:
    """A stop of spending, as names and JSON-like values."""
    return {
        "stop": stop.id,
        "generation": stop.generation_id,
        "request_id": stop.request_id,
        "billed_usd": stop.billed_usd,
        "upper_usd": stop.upper_usd,
        "opened_at": stop.opened_at,
        "resolved_at": stop.resolved_at,
        "resolved_by": stop.resolved_by,
    }


def without_queries(body: Mapping[str, Any]) -> dict[str, Any]:
    """A wire body whose URLs have lost their queries and whose data URIs have lost their data."""
    from prefect_ltx.fal.safe_text import strip_url

    return {
        name: strip_url(value)
        if isinstance(value, str) and ("://" in value or value.startswith("data:")) and name.endswith("_url")
        else value
        for name, value in body.items()
    }
