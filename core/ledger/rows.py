"""Between table rows and values: what a plan writes, what an event changes, and what is read back."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row

from prefect_ltx.fal import plain, usd_to_nano
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.life.budget import held_nano
from prefect_ltx.ledger.life.events import (
    Archived,
    CancelRequested,
    Collected,
    Event,
    FailsToSay,
    GoneSaid,
    LookedAt,
    PostStarted,
    RemoteCompleted,
    RemoteFailed,
    Settled,
    StillRunning,
)
from prefect_ltx.ledger.life.evidence import pause_after
from prefect_ltx.ledger.life.machine import Step
from prefect_ltx.ledger.life.states import CLOSED, LIVE, Effect, State
from prefect_ltx.ledger.records import Generation, LedgerEvent, Plan, Stray
from prefect_ltx.runtime import THIS_MACHINE, Runtime

_TIMES: Final = frozenset(
    name
    for name in (column.name for column in schema.generation.c)
    if name.endswith("_at") or name == "lease_until"
) - {"first_look_at", "gone_at"}  # by fal's clock: seconds, to be compared with fal's seconds only
_MOST_NANO: Final = 2**55
"""36 million dollars: thousands of such rows still add up within 64 bits."""
_EMPTY: Final = dict.fromkeys(column.name for column in schema.generation.c)
_JSON: Final = frozenset({"body", "asked", "facts"})
_ROW_ONLY: Final = frozenset({"live", "begun_attempt", "created_day"})
_ENTERED: Final = {
    State.UNKNOWN: "unknown_at",
    State.SUBMITTED: "submitted_at",
    State.COMPLETED: "completed_at",
    State.COLLECTED: "collected_at",
    State.ARCHIVED: "closed_at",
} | dict.fromkeys(CLOSED, "closed_at")


def new_row(plan: Plan, now: float, service: str = "", runtime: Runtime = THIS_MACHINE) -> dict[str, Any]:
    """The row of a fresh intent: nothing sent, nobody's, the upper bound reserved."""
    upper, expected = usd_to_nano(plan.price_upper_usd), usd_to_nano(plan.price_expected_usd)
    return {
        "id": runtime.uuid(),
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
        "nonce": runtime.token_urlsafe(18),
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
        "service": service,
        "looks": 0,
        "oddities": [],
        "refused_for_good": False,
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
        "gone_at": after.gone_at,
        "updated_at": now,
    }
    if step.moved and (column := _ENTERED.get(after.state)):
        values[column] = now
    if after.attempt != row.attempt:
        values["first_look_at"] = None
    values |= _facts(row, event, step) | _next_look(row, event, step, now)
    if reason := ": ".join(filter(None, (getattr(event, "reason", ""), getattr(event, "detail", "")))):
        values["reason"] = plain(reason)
    values["held_nano"] = held_nano(
        after.state,
        billed=after.billed,
        expected=row.price_expected_nano,
        upper=row.price_upper_nano,
        settled=values.get("settled_nano", row.settled_nano),
    )
    return {name: storable(value) for name, value in values.items()}


def _next_look(row: Generation, event: Event, step: Step, now: float) -> dict[str, Any]:
    """How often fal was asked by id in vain, and when to ask again."""
    match event:
        case FailsToSay():
            return {"looks": row.looks + 1, "look_again_at": now + pause_after(row.looks + 1)}
        case GoneSaid() if step.state is State.LOST:
            looks = 1 if step.moved else row.looks + 1
            return {"looks": looks, "look_again_at": now + pause_after(looks)}
        case GoneSaid():
            return {"look_again_at": now + event.apart}
        case StillRunning() | RemoteCompleted():
            return {"looks": 0, "look_again_at": None}
        case _:
            return {"looks": 0, "look_again_at": None} if step.moved else {}


def _facts(row: Generation, event: Event, step: Step) -> dict[str, Any]:
    match event:
        case PostStarted():
            # Of the first POST only: an earlier attempt's request may show up late.
            return {"fal_since": event.since} if row.attempt == 1 else {}
        case LookedAt():
            return {} if row.first_look_at is not None else {"first_look_at": event.at}
        case RemoteFailed():
            return {"refused_for_good": event.for_good}
        case RemoteCompleted():
            values: dict[str, Any] = {
                "video_url": event.video_url,
                "delivered_seed": _within_64_bits(event.seed),
                "prompt_expanded": event.prompt,
                "file_size": _within_64_bits(event.file_size),
                "oddities": list(dict.fromkeys((*row.oddities, *event.oddities))),
            }
            if event.units is not None:
                values["units"] = str(event.units)
            if event.usd is not None and step.before.settled_by in (None, "billable_units"):
                values["settled_nano"] = billed_nano(event.usd)
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
            return {"settled_nano": billed_nano(event.usd), **units}
        case _:
            return {}


def generation_of(row: Row[Any]) -> Generation:
    """The row as a value."""
    return generation_from(row._mapping)


def generation_from(columns: Mapping[Any, Any]) -> Generation:
    """The row's columns as a value."""
    return Generation(
        **{name: _as_value(name, value) for name, value in columns.items() if name not in _ROW_ONLY}
    )


def inserted(values: Mapping[str, Any]) -> Generation:
    """The row that these columns make, the others being empty: as it is read back."""
    return generation_from(_EMPTY | _as_kept(values))


def updated(row: Generation, values: Mapping[str, Any]) -> Generation:
    """The row with these columns changed, as it is read back."""
    changed = {name: each for name, each in _as_kept(values).items() if name not in _ROW_ONLY}
    return replace(row, **{name: _as_value(name, each) for name, each in changed.items()})


def _as_kept(values: Mapping[str, Any]) -> dict[str, Any]:
    # What a column of JSON gives back: lists for tuples, text for other names.
    return {name: json.loads(json.dumps(each)) if name in _JSON else each for name, each in values.items()}


def _as_value(name: str, value: Any) -> Any:
    if name in _TIMES:
        return moment(value)
    match name:
        case "state":
            return State(value)
        case "tags" | "oddities":
            return tuple(value)
        case "units":
            return None if value is None else Decimal(value)
        case _:
            return value


def event_of(row: Row[Any]) -> LedgerEvent:
    """The event log's row as a value."""
    values: dict[str, Any] = dict(row._mapping)
    values |= {"at": moment(row.at), "effects": tuple(Effect(effect) for effect in row.effects)}
    values |= {"from_state": State(row.from_state), "to_state": State(row.to_state)}
    return LedgerEvent(**values)


def stray_of(row: Row[Any]) -> Stray:
    """The stray's row as a value."""
    return Stray(**{**row._mapping, "noticed_at": moment(row._mapping["noticed_at"])})


def moment(seconds: float | None) -> Any:
    """Unix seconds as an aware datetime in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds(moment: float | datetime) -> float:
    """Unix seconds of a moment that is given in either form."""
    return moment.timestamp() if isinstance(moment, datetime) else moment


def storable(value: Any) -> Any:
    """`value` as every database keeps it: text without NUL and half surrogate pairs, JSON without NaN.

    What others wrote is read leniently everywhere else; this is the last place where it could still end a
    transaction, and with it the record of something paid.
    """
    match value:
        case str():
            clean = value.replace("\0", "\ufffd")
            return (
                clean
                if clean.isprintable()
                else clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            )
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {str(storable(name)): storable(item) for name, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


def billed_nano(usd: Decimal) -> int:
    """A bill in nano-dollars: fractions of one count as one, and more than a database can add up as its most."""
    return min(max(usd_to_nano(usd), 0), _MOST_NANO)


def _within_64_bits(number: int | None) -> int | None:
    return number if number is not None and -(2**63) <= number < 2**63 else None
