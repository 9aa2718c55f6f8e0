"""What fal answers, as values. Unknown keys are ignored: the protocol grows."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.results import GeneratedVideo
from prefect_ltx.fal.safe_text import storable, storable_json


def _list_of_objects(value: object) -> object:
    return [one for one in value if isinstance(one, dict | BaseModel)] if isinstance(value, list) else []


def _object(value: object) -> object:
    return storable_json(value) if isinstance(value, dict) else {}


def _as_text(value: object) -> object:
    # The format of `error` in a status is not documented (fal-protocol §12.4).
    if value is None:
        return None
    return storable(value if isinstance(value, str) else str(storable_json(value)))[:_LONGEST_TEXT]


def _exact(value: object) -> object:
    # A JSON number has become a float; its shortest text is what fal wrote.
    return repr(value) if isinstance(value, float) and math.isfinite(value) else value


def _amount(value: Decimal) -> Decimal:
    # 1E+99999999 is a Decimal as well, and one that no arithmetic ends with.
    if value and abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError("is no amount of money")
    return value or Decimal(0)


def _or_none(kind: Callable[[Any], Any]) -> BeforeValidator:
    """What is not essential counts as unknown where it cannot be read."""

    def read(value: object) -> object:
        try:
            return None if value is None else kind(value)
        except (TypeError, ValueError, OverflowError, ArithmeticError):
            return None

    return BeforeValidator(read)


def _small_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31:
        raise ValueError("is no small whole number")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("is no number")
    return float(value)


def _time(value: Any) -> datetime:
    return _TIMES.validate_python(value)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Text = Annotated[str, BeforeValidator(_as_text)]
Money = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_amount)]
UtcTime = Annotated[datetime, AfterValidator(_utc)]
Json = Annotated[Any, BeforeValidator(storable_json)]

_MOST_DIGITS: Final = 18
_LONGEST_TEXT: Final = 20_000
_TIMES: Final = TypeAdapter(datetime)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _HeardWire(_Wire):
    heard: Heard | None = Field(default=None, exclude=True, repr=False)
    """Who answered, and when it was asked by fal's clock."""


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


class QueueStatus(_HeardWire):
    """Where a request stands. There is no FAILED: a failed or cancelled one is COMPLETED (fal-protocol §1.4).

    `queue_position` is the number of requests ahead. `metrics["inference_time"]` is in seconds, once
    finished.
    """

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    request_id: str
    queue_position: Annotated[int | None, _or_none(_small_whole)] = None
    logs: Annotated[list[LogEntry], BeforeValidator(_list_of_objects)] = Field(default_factory=list)
    metrics: Annotated[dict[str, Any], BeforeValidator(_object)] = Field(default_factory=dict)
    error: Text | None = None
    error_type: Text | None = None


class GenerationResult(_HeardWire):
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
    sent_at: UtcTime
    started_at: Annotated[UtcTime | None, _or_none(_time)] = None
    ended_at: Annotated[UtcTime | None, _or_none(_time)] = None
    status_code: Annotated[int | None, _or_none(_small_whole)] = None
    duration: Annotated[float | None, _or_none(_finite)] = None
    json_input: Json = Field(default=None, repr=False)
    json_output: Json = Field(default=None, repr=False)


class Listing(_HeardWire):
    """fal's own list of an account's requests to one endpoint, as one look at it found it.

    `heard` is of the first page's question: what came after it need not be listed. `complete`: every page was
    read to the end, and every entry could be read. `unreadable` has one entry for each that could not: its id
    where that is known, else "". An absent request proves nothing unless the listing is complete.
    """

    items: list[ListedRequest] = Field(default_factory=list)
    complete: bool = False
    unreadable: list[str] = Field(default_factory=list)


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
    timestamp: UtcTime
    output_units: Money | None = None
    unit_price: Money | None = None
    cost_total: Money


class Downloaded(_Wire):
    """A whole file on disk."""

    path: Path
    size: int
    sha256: str
    content_type: str | None = None
    oddities: tuple[str, ...] = ()
    """In words, how it contradicts what fal's result said of it."""
