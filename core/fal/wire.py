"""What fal answers, as values. Unknown keys are ignored: the protocol grows."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from prefect_ltx.fal.models import GeneratedVideo


def _none_is_empty_list(value: object) -> object:
    return [] if value is None else value


def _none_is_empty_dict(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _as_text(value: object) -> object:
    # The format of `error` in a status is not documented (fal-protocol §12.4).
    return value if value is None or isinstance(value, str) else str(value)


def _exact(value: object) -> object:
    # A JSON number has become a float; its shortest text is what fal wrote.
    return repr(value) if isinstance(value, float) and math.isfinite(value) else value


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Text = Annotated[str, BeforeValidator(_as_text)]
Money = Annotated[Decimal, BeforeValidator(_exact)]
Moment = Annotated[datetime, AfterValidator(_utc)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SubmitReceipt(_Wire):
    """fal has accepted a request. The URLs are only ever ones that may receive the key (`FalHosts`)."""

    request_id: str = Field(min_length=1)
    response_url: str
    status_url: str
    cancel_url: str
    queue_position: int | None = None


class LogEntry(_Wire):
    """One line of a model's log; `timestamp` is ISO 8601 as fal wrote it."""

    message: Text = ""
    timestamp: Text | None = None
    level: Text | None = None
    source: Text | None = None


class QueueStatus(_Wire):
    """Where a request stands. There is no FAILED: a failed or cancelled one is COMPLETED (fal-protocol §1.4).

    `queue_position` is the number of requests ahead. `metrics["inference_time"]` is in seconds, once
    finished.
    """

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    request_id: str
    queue_position: int | None = None
    logs: Annotated[list[LogEntry], BeforeValidator(_none_is_empty_list)] = Field(default_factory=list)
    metrics: Annotated[dict[str, Any], BeforeValidator(_none_is_empty_dict)] = Field(default_factory=dict)
    error: Text | None = None
    error_type: Text | None = None


class GenerationResult(_Wire):
    """A finished generation. `billable_units`: megapixels, None where fal's header is missing or unreadable.

    `request_id` is empty where neither the caller nor a header named it.
    """

    video: GeneratedVideo
    billable_units: Decimal | None = None
    request_id: str = ""


CancelOutcome = Literal["cancelled", "requested", "already_completed", "not_found"]
"""cancelled: it was still queued and never runs. requested: it was running and has been asked to stop.
not_found: fal does not know the request (in this account)."""


class ListedRequest(_Wire):
    """One request in fal's own listing (fal-protocol §7.3). Inputs and outputs are there only if stored.

    `started_at` may be None although fal's schema calls it mandatory: whether queued requests are listed is
    not known, and one that cannot be read must not look like one that is absent.
    """

    request_id: str
    endpoint_id: str
    sent_at: Moment
    started_at: Moment | None = None
    ended_at: Moment | None = None
    status_code: int | None = None
    duration: float | None = None
    json_input: JsonValue = Field(default=None, repr=False)
    json_output: JsonValue = Field(default=None, repr=False)


class ModelPrice(_Wire):
    """What one `unit` of an endpoint costs this account. Check the unit before multiplying."""

    endpoint_id: str
    unit_price: Money
    unit: str
    currency: str


class BillingEvent(_Wire):
    """What fal billed for one request (fal-protocol §7.2). Amounts in dollars."""

    request_id: str
    endpoint_id: str
    timestamp: Moment
    output_units: Money | None = None
    unit_price: Money | None = None
    cost_total: Money


class Downloaded(_Wire):
    """A whole file on disk."""

    path: Path
    size: int
    sha256: str
    content_type: str | None = None
