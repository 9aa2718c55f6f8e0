"""fal's Platform API: finding requests again, prices, what was billed (fal-protocol §7). Reads only."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from prefect_ltx.fal.addresses import endpoint_path
from prefect_ltx.fal.errors import FalProtocolError, FalRequestInvalid
from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.transport import Transport
from prefect_ltx.fal.verdicts import refusal
from prefect_ltx.fal.wire import BillingEvent, ListedRequest, ModelPrice

M = TypeVar("M", bound=BaseModel)
Query = list[tuple[str, str]]

_FILTER_MAX: Final = 50
_PAGE: Final = 100
_LONGEST_WINDOW: Final = timedelta(days=89)
"""fal takes up to 90 days between start and end (fal-protocol §7.2)."""


class Platform:
    """The Platform API of one fal."""

    def __init__(self, transport: Transport) -> None:
        """Shares the connections of `transport`."""
        self._http = transport

    async def list_requests(
        self,
        endpoint: str,
        *,
        start: datetime,
        end: datetime | None,
        request_id: str | None,
        expand_payloads: bool,
    ) -> AsyncIterator[ListedRequest]:
        """Every request of `endpoint` in the window, once each, page after page."""
        query: Query = [
            ("endpoint_id", endpoint_path(endpoint)),
            ("limit", str(_PAGE)),
            ("start", _iso(start)),
        ]
        query += [("end", _iso(end))] if end else []
        query += [("request_id", request_id)] if request_id else []
        query += [("expand", "payloads")] if expand_payloads else []
        seen: set[str] = set()
        async for page in self._pages("/v1/models/requests/by-endpoint", query, Reply.any_object):
            for item in _items(page, "items", ListedRequest):
                # The cursor is a page number: what finishes meanwhile moves items to the next page.
                if item.request_id not in seen:
                    seen.add(item.request_id)
                    yield item

    async def prices(self, endpoints: Iterable[str]) -> dict[str, ModelPrice]:
        """The price of each endpoint that fal lists, by its id."""
        found: dict[str, ModelPrice] = {}
        for some in _chunks([endpoint_path(endpoint) for endpoint in endpoints]):
            query = [("endpoint_id", endpoint) for endpoint in some]
            async for page in self._pages("/v1/models/pricing", query, Reply.exact_object):
                found |= {price.endpoint_id: price for price in _items(page, "prices", ModelPrice)}
        return found

    async def billing_events(
        self, request_ids: Sequence[str] | None, start: datetime | None, end: datetime | None
    ) -> list[BillingEvent]:
        """What was billed, for these requests or in this window."""
        if request_ids is None and start is None:
            raise FalRequestInvalid("Say which billing events: request_ids, or a start")
        if start is None:
            # Left out, fal would look back 24 hours only, and a request settled later would look unbilled.
            start = (end or datetime.now(UTC)) - _LONGEST_WINDOW
        window: Query = [("start", _iso(start))]
        window += [("end", _iso(end))] if end else []
        queries = [window]
        if request_ids is not None:
            queries = [window + [("request_id", one) for one in some] for some in _chunks(request_ids)]
        events: dict[tuple[str, datetime, Decimal], BillingEvent] = {}
        for query in queries:
            async for page in self._pages("/v1/models/billing-events", query, Reply.exact_object):
                for event in _items(page, "billing_events", BillingEvent):
                    events[event.request_id, event.timestamp, event.cost_total] = event
        return list(events.values())

    async def _pages(
        self, path: str, query: Query, read: Callable[[Reply], dict[str, Any]]
    ) -> AsyncIterator[dict[str, Any]]:
        def page(reply: Reply) -> dict[str, Any]:
            if not reply.ok:
                raise refusal(reply, f"the Platform API's {path.rpartition('/')[2]}")
            return read(reply)

        cursor: str | None = None
        used: set[str] = set()
        while True:
            pairs = query + ([("cursor", cursor)] if cursor else [])
            url = f"{self._http.hosts.api}{path}?{urlencode(pairs)}"
            data = await self._http.free("GET", url, page, headers=self._http.key_header(url))
            yield data
            following = data.get("next_cursor")
            # A cursor that comes back would go round for ever.
            if not isinstance(following, str) or not following or following in used:
                return
            used.add(following)
            cursor = following


def _items(page: dict[str, Any], key: str, model: type[M]) -> list[M]:
    listed = page.get(key)
    if not isinstance(listed, list):
        raise _unreadable(key)
    try:
        return [model.model_validate(item) for item in listed]
    except ValidationError as error:
        # Not skipped: a request that cannot be read must not pass for one that is absent.
        where = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise _unreadable(f"{key}: {where}") from None


def _unreadable(where: str) -> FalProtocolError:
    return FalProtocolError(f"The Platform API's answer is unreadable at {where}")


def _chunks(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[at : at + _FILTER_MAX] for at in range(0, len(values), _FILTER_MAX)]


def _iso(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise FalRequestInvalid("A time for fal's listing needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
