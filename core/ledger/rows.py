"""Between table rows and values: what a plan writes, what an event changes, and what is read back."""

import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row

from prefect_ltx.fal import plain, usd_to_nano
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.life.events import (
    Archived,
    CancelRequested,
    Collected,
    Event,
    RemoteCompleted,
    Settled,
)
from prefect_ltx.ledger.life.machine import Step
from prefect_ltx.ledger.life.money import held_nano
from prefect_ltx.ledger.life.snapshot import Effect
from prefect_ltx.ledger.life.states import CLOSED, LIVE, State
from prefect_ltx.ledger.records import Generation, LedgerEvent, Plan, Stray

_TIMES: Final = frozenset(
    name
    for name in (column.name for column in schema.generation.c)
    if name.endswith("_at") or name == "lease_until"
)
_ROW_ONLY: Final = frozenset({"live", "begun_attempt", "created_day"})
_ENTERED: Final = {
    State.UNKNOWN: "unknown_at",
    State.SUBMITTED: "submitted_at",
    State.COMPLETED: "completed_at",
    State.COLLECTED: "collected_at",
    State.ARCHIVED: "closed_at",
} | dict.fromkeys(CLOSED, "closed_at")


def new_row(plan: Plan, now: float) -> dict[str, Any]:
    """The row of a fresh intent: nothing sent, nobody's, the upper bound reserved."""
    upper, expected = usd_to_nano(plan.price_upper_usd), usd_to_nano(plan.price_expected_usd)
    return {
        "id": str(uuid.uuid4()),
        "key": plan.key,
        "seedless_key": plan.seedless_key,
        "endpoint": plan.endpoint,
        "account": plan.account,
        "body": dict(plan.body),
        "seed": plan.seed,
        "seed_drawn": plan.seed_drawn,
        "flow_run_id": plan.flow_run_id,
        "tags": list(plan.tags),
        "asked": dict(plan.asked),
        "nonce": secrets.token_urlsafe(18),
        "state": State.INTENDED.value,
        "live": 1,
        "attempt": 1,
        "post_may_have_left": False,
        "begun_attempt": 0,
        "cancel": "none",
        "price_expected_nano": expected,
        "price_upper_nano": max(upper, expected),
        "held_nano": max(upper, expected),
        "created_at": now,
        "created_day": datetime.fromtimestamp(now, UTC).date().isoformat(),
        "posted_at": now,
        "updated_at": now,
        "video_seen": False,
        "facts": {},
    }


def plan_of(row: Generation) -> Plan:
    """The plan that the row was made from."""
    return Plan(
        key=row.key,
        seedless_key=row.seedless_key,
        endpoint=row.endpoint,
        account=row.account,
        body=row.body,
        seed=row.seed,
        seed_drawn=row.seed_drawn,
        price_expected_usd=row.price_expected_usd,
        price_upper_usd=row.price_upper_usd,
        flow_run_id=row.flow_run_id,
        tags=row.tags,
        asked=row.asked,
    )


def changes(row: Generation, event: Event, step: Step, now: float) -> dict[str, Any]:
    """The columns that a recorded event changes. Empty for one that was ignored or kept beside the row."""
    if step.outcome != "recorded":
        return {}
    after = step.after
    values: dict[str, Any] = {
        "state": after.state.value,
        "live": int(after.state in LIVE),
        "attempt": after.attempt,
        "post_may_have_left": after.post_may_have_left,
        "request_id": after.request_id,
        "cancel": after.cancel,
        "billed": after.billed,
        "sha256": after.sha256,
        "video_seen": after.video_seen,
        "settled_by": after.settled_by,
        "updated_at": now,
    }
    if step.moved and (column := _ENTERED.get(after.state)):
        values[column] = now
    values |= _facts(row, event, step)
    if reason := ": ".join(filter(None, (getattr(event, "reason", ""), getattr(event, "detail", "")))):
        values["reason"] = plain(reason)
    values["held_nano"] = held_nano(
        after.state,
        billed=after.billed,
        expected=row.price_expected_nano,
        upper=row.price_upper_nano,
        settled=values.get("settled_nano", row.settled_nano),
    )
    return values


def _facts(row: Generation, event: Event, step: Step) -> dict[str, Any]:
    match event:
        case RemoteCompleted():
            values: dict[str, Any] = {
                "video_url": event.video_url,
                "delivered_seed": event.seed,
                "prompt_expanded": event.prompt,
                "file_size": event.file_size,
            }
            if event.units is not None:
                values["units"] = str(event.units)
            if event.usd is not None and step.before.settled_by in (None, "billable_units"):
                values["settled_nano"] = usd_to_nano(event.usd)
            return values
        case Collected():
            return {"size": event.size, "path": event.path, "facts": dict(event.facts)}
        case Archived():
            return {
                "location": event.location,
                "folder": event.folder,
                "manifest_sha256": event.manifest_sha256,
            }
        case CancelRequested():
            return {"cancel_by": plain(event.by) if row.cancel_by is None else row.cancel_by}
        case Settled():
            units = {} if event.units is None else {"units": str(event.units)}
            return {"settled_nano": usd_to_nano(event.usd), **units}
        case _:
            return {}


def generation_of(row: Row[Any]) -> Generation:
    """The row as a value."""
    return generation_from(row._mapping)


def generation_from(columns: Mapping[Any, Any]) -> Generation:
    """The row's columns as a value."""
    values = {name: value for name, value in columns.items() if name not in _ROW_ONLY}
    for name in _TIMES & values.keys():
        values[name] = moment(values[name])
    values["state"] = State(values["state"])
    values["tags"] = tuple(values["tags"])
    values["units"] = None if values["units"] is None else Decimal(values["units"])
    return Generation(**values)


def event_of(row: Row[Any]) -> LedgerEvent:
    """The event log's row as a value."""
    values: dict[str, Any] = dict(row._mapping)
    return LedgerEvent(
        **{
            **values,
            "at": moment(values["at"]),
            "from_state": State(values["from_state"]),
            "to_state": State(values["to_state"]),
            "effects": tuple(Effect(effect) for effect in values["effects"]),
        }
    )


def stray_of(row: Row[Any]) -> Stray:
    """The stray's row as a value."""
    return Stray(**{**row._mapping, "noticed_at": moment(row._mapping["noticed_at"])})


def moment(seconds: float | None) -> Any:
    """Unix seconds as an aware datetime in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds(moment: float | datetime) -> float:
    """Unix seconds of a moment that is given in either form."""
    return moment.timestamp() if isinstance(moment, datetime) else moment
