"""One HTTP answer and what fal's conventions say in it. Pure: nothing here sends anything."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final

import httpx

from prefect_ltx.fal._authorship import FALS_HEADERS, in_a_shape_of_fals
from prefect_ltx.fal.clock import Heard, Moment, Stopwatch
from prefect_ltx.fal.errors import FalError, FalGateway, FalProtocolError
from prefect_ltx.fal.field_problem import FieldProblem
from prefect_ltx.fal.lenient_json import NOT_JSON, read_json
from prefect_ltx.fal.safe_text import plain
from prefect_ltx.runtime import THIS_MACHINE

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ID_IN_A_CUT_BODY: Final = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9._:-]{1,128})"')


@dataclass(frozen=True)
class Reply:
    """Status, headers and as much of the body as arrived (`complete` says whether that is all of it)."""

    status: int
    headers: httpx.Headers
    body: bytes
    complete: bool = True
    asked_at: Moment | None = None
    clocks: Stopwatch | None = None
    """This machine's clocks directly before the question."""
    signed: bool = False
    """Whether it is known to be fal's from elsewhere: a webhook with a good signature."""

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @cached_property
    def data(self) -> Any:
        """The body as JSON, None where it is not. JSON numbers with a fraction are floats."""
        value = read_json(self.body) if self.complete else NOT_JSON
        return None if value is NOT_JSON else value

    def any_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            FalGateway: when it is not one.
        """
        if not isinstance(self.data, dict):
            raise self.unreadable("is not a JSON object")
        return self.data

    def exact_object(self) -> dict[str, Any]:
        """The same with Decimal in place of float: for money."""
        self.any_object()
        data: dict[str, Any] = read_json(self.body, exact=True)
        return data

    def unreadable(self, why: str, *, fals: bool = False) -> FalError:
        """The error for an answer that does not follow the protocol; `fals`: it is fal's for some other reason."""
        if not (fals or self.is_fals or (self.ok and self.is_marked)):
            return self.gateway(f"the answer {why}")
        return FalProtocolError(f"fal's answer (HTTP {self.status}) {why}", status=self.status)

    def gateway(self, subject: str) -> FalGateway:
        """The error for an answer that fal did not write."""
        what = f"Something between, not fal, answered HTTP {self.status}"
        return FalGateway(f"{what} ({subject})", status=self.status)

    @property
    def heard(self) -> Heard:
        """Who wrote this error answer, and when it was asked for. A 2xx is fal's if the route can read it."""
        return Heard("fal" if self.is_fals else "between", self.asked_at)

    @cached_property
    def fields(self) -> list[FieldProblem]:
        """The entries of a `detail` list, whichever of fal's and pydantic's shapes they have."""
        detail = self._object.get("detail")
        return [_field(entry) for entry in detail] if isinstance(detail, list) else []

    @cached_property
    def message(self) -> str:
        """What the answer says, as one line for a person; empty when it says nothing readable."""
        error = self._object.get("error")
        if isinstance(error, dict):
            error = error.get("message")
        body = self._object
        for text in (body.get("detail"), error, body.get("message"), body.get("status")):
            if isinstance(text, str) and text.strip():
                return plain(text)
        return "; ".join(str(problem) for problem in self.fields)

    @property
    def error_type(self) -> str:
        """fal's type of a request-level error; header first, then body."""
        kind = self.headers.get("x-fal-error-type") or self._object.get("error_type")
        return kind if isinstance(kind, str) else ""

    @property
    def has_error_headers(self) -> bool:
        """Whether one of the two headers is there that only fal puts on a request's own outcome."""
        return "x-fal-retryable" in self.headers or "x-fal-error-type" in self.headers

    @property
    def retryable(self) -> bool | None:
        """`X-Fal-Retryable`; None where fal does not say."""
        return {"true": True, "1": True, "false": False, "0": False}.get(
            self.headers.get("x-fal-retryable", "").strip().lower()
        )

    @property
    def needs_retry(self) -> bool:
        """`X-Fal-Needs-Retry`: the platform asks for the same call again."""
        return self.headers.get("x-fal-needs-retry", "").strip().lower() in ("1", "true")

    @cached_property
    def is_fals(self) -> bool:
        """Whether fal itself wrote this error: it has one of fal's shapes (`_authorship`)."""
        body = self.data
        return self.signed or (isinstance(body, dict) and in_a_shape_of_fals(body, marked=self._marked))

    @property
    def is_marked(self) -> bool:
        """Whether it is a JSON object that comes with one of fal's headers: enough where nothing hangs on it."""
        return self.signed or (isinstance(self.data, dict) and self._marked)

    @property
    def _marked(self) -> bool:
        return any(name in self.headers for name in FALS_HEADERS)

    @property
    def is_page(self) -> bool:
        """Whether the body is a web page: a login page or a gateway's, whatever the status."""
        kind: str = self.headers.get("content-type", "").strip().lower()
        start = self.body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        return kind.startswith(("text/html", "application/xhtml")) or start.startswith(
            (b"<!doctype", b"<html")
        )

    @cached_property
    def request_id(self) -> str | None:
        """The request's id, from the body (even one cut off behind it), else from the header."""
        named = self._object.get("request_id")
        if named is None and (found := _ID_IN_A_CUT_BODY.search(self.body)):
            named = found[1].decode("ascii")
        for candidate in (named, self.headers.get("x-fal-request-id")):
            if isinstance(candidate, str) and _REQUEST_ID.fullmatch(candidate):
                return candidate
        return None

    @property
    def billable_units(self) -> Decimal | None:
        """`X-Fal-Billable-Units`; None where it is missing or not a plain number of at least 0."""
        return _units(self.headers.get("x-fal-billable-units", ""))

    @property
    def retry_after(self) -> float | None:
        """`Retry-After` in seconds from now, given as seconds or as a date."""
        wall = self.clocks.wall if self.clocks is not None else THIS_MACHINE.time()
        return _seconds(self.headers.get("retry-after", ""), wall)

    @property
    def _object(self) -> Mapping[str, Any]:
        return self.data if isinstance(self.data, dict) else {}


def valid_request_id(request_id: str) -> bool:
    """Whether `request_id` can stand in a path: letters, digits and `._:-` only, so no `/` and no `..`."""
    return bool(_REQUEST_ID.fullmatch(request_id)) and ".." not in request_id


def _field(entry: object) -> FieldProblem:
    if not isinstance(entry, dict):
        return FieldProblem((), plain(entry))
    loc = entry.get("loc")
    parts = loc if isinstance(loc, list) else [] if loc is None else [loc]
    return FieldProblem(
        tuple(part if isinstance(part, int) else plain(part, 80) for part in parts),
        plain(entry.get("msg", "no message")),
        plain(entry.get("type") or "", 80),
    )


def _units(text: str) -> Decimal | None:
    # Decimal() takes "NaN", "1_0" and " 1 " as well.
    return Decimal(text) if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text.strip(), re.ASCII) else None


def _seconds(text: str, wall: float) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = when.timestamp() - wall
    return max(seconds, 0.0) if math.isfinite(seconds) else None
