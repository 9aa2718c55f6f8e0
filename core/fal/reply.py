"""One HTTP answer and what fal's conventions say in it. Pure: nothing here sends anything.

Shapes (fal-protocol §5): models answer `{"detail": [{loc, msg, type}]}`, the platform `{"detail": "text",
"error_type": "…"}`, the Platform API `{"error": {"type", "message"}}`, queue routes `{"status":
"NOT_FOUND"}`.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final

import httpx

from prefect_ltx.fal.errors import FalProtocolError
from prefect_ltx.fal.field_problem import FieldProblem
from prefect_ltx.fal.safe_text import plain

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ID_IN_A_CUT_BODY: Final = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9._:-]{1,128})"')
_FAL_STATUSES: Final = ("NOT_FOUND", "ALREADY_COMPLETED")


@dataclass(frozen=True)
class Reply:
    """Status, headers and as much of the body as arrived (`complete` says whether that is all of it)."""

    status: int
    headers: httpx.Headers
    body: bytes
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @cached_property
    def data(self) -> Any:
        """The body as JSON, None where it is not. JSON numbers with a fraction are floats."""
        try:
            return json.loads(self.body) if self.complete else None
        except (ValueError, RecursionError):
            return None

    def any_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            FalProtocolError: when it is not one.
        """
        if not isinstance(self.data, dict):
            raise self.unreadable("is not a JSON object")
        return self.data

    def exact_object(self) -> dict[str, Any]:
        """The same with Decimal in place of float: for money."""
        self.any_object()
        data: dict[str, Any] = json.loads(self.body, parse_float=Decimal)
        return data

    def unreadable(self, why: str) -> FalProtocolError:
        """The error for an answer that does not follow the protocol."""
        return FalProtocolError(f"fal's answer (HTTP {self.status}) {why}", status=self.status)

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

    @property
    def is_fals(self) -> bool:
        """Whether fal itself wrote this: a JSON object of one of its shapes, or its request id header.

        What a proxy, a captive portal or a load balancer writes is neither.
        """
        body, error = self._object, self._object.get("error")
        return (
            "x-fal-request-id" in self.headers
            or isinstance(body.get("detail"), str | list)
            or isinstance(body.get("error_type"), str)
            or (isinstance(error, dict) and isinstance(error.get("message"), str))
            or body.get("status") in _FAL_STATUSES
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
        return _seconds(self.headers.get("retry-after", ""))

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


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
