"""fal's Platform API: finding requests again, prices, what was billed (fal-protocol §7). Reads only."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from prefect_ltx.fal.addresses import endpoint_path
from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.errors import (
    FalAuthenticationError,
    FalNotFound,
    FalPermissionDenied,
    FalProtocolError,
    FalRequestInvalid,
)
from prefect_ltx.fal.reply import Reply, valid_request_id
from prefect_ltx.fal.safe_text import plain, storable
from prefect_ltx.fal.transport import Transport
from prefect_ltx.fal.verdicts import refusal
from prefect_ltx.fal.wire import BillingEvent, ListedRequest, Listing, ModelPrice

M = TypeVar("M", bound=BaseModel)
Query = list[tuple[str, str]]

_LISTING: Final = "/v1/models/requests/by-endpoint"
_FILTER_MAX: Final = 50
_PAGE: Final = 100
_PAGE_WITH_PAYLOADS: Final = 10
"""A payload may hold data URIs of megabytes."""
_MOST_PAGES: Final = 2_000
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
        query = _listing_query(endpoint, start, end, request_id, expand_payloads)
        seen: set[str] = set()
        async for page in self._pages(_LISTING, query, "items"):
            items, unreadable = _listed(page)
            for item in items:
                # The cursor is a page number: what finishes meanwhile moves items to the next page.
                if item.request_id not in seen:
                    seen.add(item.request_id)
                    yield item
            if unreadable:
                # Not skipped: a request that cannot be read must not pass for one that is absent.
                raise _unreadable(f"items: {', '.join(unreadable) or 'an entry without an id'}")

    async def listing(
        self, endpoint: str, *, start: datetime, request_id: str | None, expand_payloads: bool
    ) -> Listing:
        """The same as one value; see `FalClient.listing`."""
        query = _listing_query(endpoint, start, None, request_id, expand_payloads)
        items: dict[str, ListedRequest] = {}
        unreadable: list[str] = []
        heard: Heard | None = None
        ended = False
        async for page in self._pages(_LISTING, query, "items"):
            heard = heard or page.heard
            readable, not_readable = _listed(page)
            unreadable += not_readable
            for item in readable:
                items.setdefault(item.request_id, item)
            ended = page.is_last
        return Listing(
            items=list(items.values()),
            complete=ended and not unreadable,
            unreadable=unreadable,
            heard=heard,
        )

    async def user_name(self) -> str | None:
        """The account's user name; None where the key may not ask."""
        url = f"{self._http.hosts.api}/v1/account/billing"
        try:
            return await self._http.free("GET", url, _user_name, headers=self._http.key_header(url))
        except (FalAuthenticationError, FalPermissionDenied, FalNotFound):
            return None

    async def prices(self, endpoints: Iterable[str]) -> dict[str, ModelPrice]:
        """The price of each endpoint that fal lists, by its id."""
        found: dict[str, ModelPrice] = {}
        for some in _chunks([endpoint_path(endpoint) for endpoint in endpoints]):
            query = [("endpoint_id", endpoint) for endpoint in some]
            async for page in self._pages("/v1/models/pricing", query, "prices", exact=True):
                for entry in page.entries:
                    price = _read(entry, ModelPrice)
                    if price is None:
                        raise _unreadable("prices")
                    found[price.endpoint_id] = price
        return found

    async def billing_events(
        self, request_ids: Sequence[str] | None, start: datetime | None, end: datetime | None
    ) -> list[BillingEvent]:
        """What was billed, for these requests or in this window."""
        if request_ids is None and start is None:
            raise FalRequestInvalid("Say which billing events: request_ids, or a start")
        if start is None:
            # Left out, fal would look back 24 hours only, and a request settled later would look unbilled.
            start = (end or self._http.runtime.now()) - _LONGEST_WINDOW
        window: Query = [("start", _iso(start))]
        window += [("end", _iso(end))] if end else []
        queries = [window]
        if request_ids is not None:
            queries = [window + [("request_id", one) for one in some] for some in _chunks(request_ids)]
        events: Counter[BillingEvent] = Counter()
        doubtful: set[str] = set()
        for query in queries:
            async for page in self._pages("/v1/models/billing-events", query, "billing_events", exact=True):
                on_page: Counter[BillingEvent] = Counter()
                for entry in page.entries:
                    event = _read(entry, BillingEvent)
                    if event is not None:
                        on_page[event] += 1
                    elif (named := _id_of(entry)) != "":
                        doubtful.add(named)
                    else:
                        raise _unreadable("billing_events")
                # The same event may come again on the next page; twice on one page, it was billed twice.
                events |= on_page
        return [event for event in events.elements() if event.request_id not in doubtful]

    async def _pages(
        self, path: str, query: Query, key: str, *, exact: bool = False
    ) -> AsyncIterator["_Page"]:
        def page(reply: Reply) -> _Page:
            if not reply.ok:
                raise refusal(reply, f"the Platform API's {path.rpartition('/')[2]}")
            data = reply.exact_object() if exact else reply.any_object()
            if not isinstance(data.get(key), list):
                raise reply.unreadable(f"has no list of {key}")
            return _Page(data, data[key], Heard("fal", reply.asked_at))

        cursor: str | None = None
        used: set[str] = set()
        for _ in range(_MOST_PAGES):
            pairs = query + ([("cursor", cursor)] if cursor else [])
            url = f"{self._http.hosts.api}{path}?{urlencode(pairs)}"
            read = await self._http.free("GET", url, page, headers=self._http.key_header(url))
            yield read
            following = read.data.get("next_cursor")
            # A cursor that comes back would go round for ever.
            if not isinstance(following, str) or not following or following in used:
                return
            used.add(following)
            cursor = following


@dataclass(frozen=True)
class _Page:
    data: dict[str, Any]
    entries: list[Any]
    heard: Heard

    @property
    def is_last(self) -> bool:
        """Whether it says that nothing follows; one that says nothing at all may have been cut."""
        told = "next_cursor" in self.data and self.data.get("has_more", False) is False
        return told and self.data["next_cursor"] in (None, "")


def _listing_query(
    endpoint: str, start: datetime, end: datetime | None, request_id: str | None, expand_payloads: bool
) -> Query:
    query: Query = [
        ("endpoint_id", endpoint_path(endpoint)),
        ("limit", str(_PAGE_WITH_PAYLOADS if expand_payloads else _PAGE)),
        ("start", _iso(start)),
    ]
    query += [("end", _iso(end))] if end else []
    query += [("request_id", request_id)] if request_id else []
    query += [("expand", "payloads")] if expand_payloads else []
    return query


def _listed(page: _Page) -> tuple[list[ListedRequest], list[str]]:
    """The entries of one page: those that can be read, and the ids of the others ("" where it has none)."""
    items: list[ListedRequest] = []
    unreadable: list[str] = []
    for entry in page.entries:
        item = _read(entry, ListedRequest)
        if item is not None and valid_request_id(item.request_id):
            items.append(item)
        else:
            unreadable.append(_id_of(entry))
    return items, unreadable


def _id_of(entry: object) -> str:
    named = entry.get("request_id") if isinstance(entry, dict) else None
    return named if isinstance(named, str) and valid_request_id(named) else ""


def _user_name(reply: Reply) -> str | None:
    if not reply.ok:
        raise refusal(reply, "the account's name")
    name = reply.any_object().get("username")
    if not isinstance(name, str):
        raise reply.unreadable("names no account")
    return plain(storable(name), 200) or None


def _read(entry: object, model: type[M]) -> M | None:
    try:
        return model.model_validate(entry)
    except ValidationError:
        return None


def _unreadable(where: str) -> FalProtocolError:
    return FalProtocolError(f"The Platform API's answer is unreadable at {where}")


def _chunks(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[at : at + _FILTER_MAX] for at in range(0, len(values), _FILTER_MAX)]


def _iso(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise FalRequestInvalid("A time for fal's listing needs a time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
