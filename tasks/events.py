"""What this package tells Prefect's event log, for automations and for the Events page.

`ltx.generation.<what>` is told by whoever moves the ledger's row, in a flow, a batch, a sweep or a webhook
receiver. An event's id is made from what happened, so that the same happening told twice is one event. Telling
is never the work: nothing here raises, and an event that cannot be sent is a line in the log. Payloads hold no
prompt, no URL and no secret; amounts are exact decimal texts. `docs/events.md` lists all of them.
"""

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event
from prefect.settings import get_current_settings
from pydantic import JsonValue

from prefect_ltx.fal import plain
from prefect_ltx.ledger import Announcement, BudgetStatus, Generation, Stop
from prefect_ltx.tasks.context import run_logger

GenerationEvent = Literal[
    "planned", "submitted", "completed", "archived", "failed", "cancelled", "parked", "lost"
]

_NAMESPACE: Final = uuid.UUID("6c747865-7665-4e74-8000-707265666563")  # "ltxevent", "prefec"
_REMEMBERED_SECONDS: Final = 300
"""As long as Prefect's server refuses to see the same event a second time."""
_turn: Final = threading.Lock()
_told: Final[dict[tuple[str | None, uuid.UUID], float]] = {}


def emit_generation(
    what: GenerationEvent, generation: Generation, *, again: int = 0, **payload: JsonValue
) -> None:
    """Tell Prefect that something happened to a generation: `ltx.generation.<what>`.

    The resource is `ltx.generation.<ledger id>`, with the labels `ltx.endpoint`, `ltx.request-id`, and
    `ltx.attended`: `true` while a living run holds the generation and will finish it by itself. An automation
    that starts `finish-generation` matches `ltx.attended: "false"`. `payload` is added to the generation's own.

    That a generation is completed is one happening while a run attends it, another once nobody does, and a reminder
    is one more: `again` numbers them. Prefect's server drops an event whose id it has just seen.

    Works in a run and outside of one; without a Prefect server to tell it to, it does nothing.
    """
    labels = {"ltx.endpoint": generation.endpoint, "ltx.attended": str(is_attended(generation)).lower()}
    if generation.request_id is not None:
        labels["ltx.request-id"] = generation.request_id
    happening = what if what != "completed" or is_attended(generation) else f"{what} unattended"
    words = f"{generation.endpoint.rsplit('/', 1)[-1]}, seed {generation.seed}"
    emit(
        f"ltx.generation.{what}",
        f"ltx.generation.{generation.id}",
        name=words,
        labels=labels,
        payload={**generation_payload(generation), **payload},
        once=f"{generation.id} {happening}{f' {again}' if again else ''}",
    )


def announce(announcement: Announcement) -> None:
    """Tell that fal has finished a generation that nobody attends: `ltx.generation.completed`.

    It starts `finish_generation`. The first time is the same event as the one that its move in the ledger raised,
    where nobody attended it then; each reminder is an event of its own.
    """
    emit_generation(
        "completed",
        announcement.generation,
        again=announcement.number - 1,
        announcement=announcement.number,
    )


def generation_payload(generation: Generation) -> dict[str, JsonValue]:
    """The facts of a generation that every one of its events carries."""
    billed = generation.settled_usd
    return {
        "generation": generation.id,
        "request_id": generation.request_id,
        "endpoint": generation.endpoint,
        "state": str(generation.state),
        "attended": is_attended(generation),
        "seed": generation.seed,
        "attempt": generation.attempt,
        "price_expected_usd": _exact(generation.price_expected_usd),
        "price_billed_usd": None if billed is None else _exact(billed),
        "tags": list(generation.tags),
        "flow_run_id": generation.flow_run_id,
        "reason": generation.reason,
        "archive": generation.location,
        "folder": generation.folder,
    }


def is_attended(generation: Generation) -> bool:
    """Whether somebody holds the generation's lease: a run that waits for it and will bring it into the archive."""
    until = generation.lease_until
    return generation.owner is not None and until is not None and until > datetime.now(UTC)


def emit_budget_low(status: BudgetStatus, *, ledger: str, period_start: float) -> None:
    """Tell that little is left of a budget: `ltx.budget.low`, once a period.

    Args:
        status: how the limit stands after the reservation that made it low.
        ledger: the id of the ledger that counts it.
        period_start: where the limit's period began, in Unix seconds; 0 for one without an end.
    """
    limit = status.limit
    name = limit.name or "budget"
    where = f"{name} {limit.period}{f' {limit.tag}' if limit.tag else ''}"
    emit(
        "ltx.budget.low",
        f"ltx.budget.{name}",
        name=f"Budget {limit}",
        labels={"ltx.period": limit.period, **({"ltx.tag": limit.tag} if limit.tag else {})},
        payload={
            "budget": name,
            "period": limit.period,
            "tag": limit.tag,
            "limit_usd": _exact(limit.usd),
            "held_usd": _exact(status.held_usd),
            "settled_usd": _exact(status.settled_usd),
            "left_usd": _exact(status.left_usd),
        },
        once=f"{ledger} {where} {_exact(limit.usd)} {period_start:.0f} low",
    )


def emit_spending_stopped(stop: Stop, generation: Generation, *, ledger: str) -> None:
    """Tell that nothing more is bought until a person has looked at a bill: `ltx.spending.stopped`, once a stop.

    Args:
        stop: the bill, and the bound that it is far beyond.
        generation: the one it was billed for.
        ledger: the id of the ledger that stops.
    """
    emit(
        "ltx.spending.stopped",
        f"ltx.spending.{ledger}",
        name="Spending is stopped",
        labels={"ltx.generation": generation.id},
        payload={
            "stop": stop.id,
            "generation": generation.id,
            "request_id": stop.request_id,
            "endpoint": generation.endpoint,
            "billed_usd": _exact(stop.billed_usd),
            "upper_usd": _exact(stop.upper_usd),
            "factor": _exact(stop.factor),
            "flow_run_id": generation.flow_run_id,
        },
        once=f"{ledger} {stop.id}",
    )


def emit(
    event: str,
    resource: str,
    *,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    payload: Mapping[str, JsonValue] | None = None,
    related: Sequence[Mapping[str, str]] = (),
    once: str | None = None,
) -> None:
    """Tell Prefect one event; never raises.

    Args:
        event: its name, such as `ltx.file.landed`.
        resource: id of what it happened to.
        name: what people call that.
        labels: further labels of the resource, which automations can match.
        payload: JSON values; texts lose what may be signed in them.
        related: further resources, each with `prefect.resource.id` and `prefect.resource.role`.
        once: what happened, in words that no other happening has: told again, it is the same event.
    """
    if not _somebody_listens():
        return
    identity = uuid.uuid4() if once is None else event_id(f"{event} {once}")
    if not _is_new(identity):
        return
    try:
        emit_event(
            event,
            resource={
                "prefect.resource.id": resource,
                **({"prefect.resource.name": name} if name else {}),
                **(labels or {}),
            },
            related=[dict(each) for each in related],
            payload={key: _safe(value) for key, value in (payload or {}).items()},
            id=identity,
        )
    except Exception as error:  # an event must never be the end of the work that it tells of
        run_logger().warning("The event %s was not sent: %s", event, type(error).__name__)


def event_id(happening: str) -> uuid.UUID:
    """The id of an event, from what happened."""
    return uuid.uuid5(_NAMESPACE, happening)


def _is_new(identity: uuid.UUID) -> bool:
    # Prefect's sender keeps what waits by its id, and loses one of two that are the same.
    now = time.monotonic()
    with _turn:
        while _told and now - next(iter(_told.values())) > _REMEMBERED_SECONDS:
            del _told[next(iter(_told))]
        key = (get_current_settings().api.url, identity)
        return _told.setdefault(key, now) == now


def _somebody_listens() -> bool:
    # Outside of a run and without a server, Prefect would start one of its own for each event: ten seconds, to
    # tell it to nobody.
    if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
        return True
    return get_current_settings().api.url is not None


def _safe(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        # A place on disk stays as it is to the letter; only what may hold a signature or a password is cut.
        risky = "data:" in value or ("://" in value and ("?" in value or "@" in value))
        return plain(value, 4000) if risky else value
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if isinstance(value, dict):
        return {key: _safe(each) for key, each in value.items()}
    return value


def _exact(usd: Decimal) -> str:
    return f"{usd.normalize():f}"
