"""Which entries of fal's listing are a row's own request, which may be, and which are not.

A listed request is the row's when every key that was sent has an equal value in its stored input: numbers by
value (24 equals 24.0), nulls that were sent or stored do not count, and keys that fal adds are tolerated.

- **A seed of our own** (`seed_drawn`) is in no request but this row's. So a match counts whenever it was sent;
  with several the earliest is adopted and the others are double charges.
- **The user's seed** may be in somebody else's request, of another ledger or by hand. Only a match inside the time
  in which the POST can have left counts, and of several none is chosen: a person decides. Adopting a stranger's
  would let our cancel stop it, and its end would free our key although our own request ran.
  One match alone is adopted at once: the same body is the same video, so even a stranger's costs nothing.
- **Doubt** is what could be ours and cannot be told: an entry of that time without a stored input, or with our
  seed and prompt but not our whole body; our whole body at another time; our whole body under another spelling of
  the endpoint. Doubt never becomes a match, and forbids the conclusion that the request is absent.

fal-protocol §7.3, §7.5; the time inside a request id: §1.2.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from prefect_ltx.ledger.life.answers import Heard
from prefect_ltx.ledger.records import Generation

_EXACT = 2**53


class Listed(Protocol):
    """One entry of fal's request listing; `prefect_ltx.fal.ListedRequest` is one."""

    @property
    def request_id(self) -> str:
        """fal's id."""

    @property
    def endpoint_id(self) -> str:
        """The full endpoint id, as fal spells it."""

    @property
    def sent_at(self) -> datetime | None:
        """When fal took it."""

    @property
    def started_at(self) -> datetime | None:
        """When it started to run."""

    @property
    def json_input(self) -> Any:
        """The stored input, or None where fal kept none."""


class Listing(Protocol):
    """fal's request listing, all of its pages."""

    @property
    def items(self) -> Sequence[Listed]:
        """Every entry that could be read."""

    @property
    def heard(self) -> Heard | None:
        """Who answered, and when the first page was asked for."""

    @property
    def complete(self) -> bool:
        """Whether every page was read to its end."""

    @property
    def unreadable(self) -> Sequence[str]:
        """Ids of entries that could not be read."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the POST can have reached fal, Unix seconds by fal's clock, with what the clocks may be off."""

    earliest: float
    latest: float

    def has(self, at: float | None) -> bool:
        """Whether a request of that time can be this POST's; one of unknown time can."""
        return at is None or self.earliest <= at <= self.latest


@dataclass(slots=True)
class Sorted:
    """A listing sorted for one row: `ours`, the earliest first, and why some others may be ours, in words."""

    ours: list[Listed] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def sort_out(
    listing: Iterable[Listed], row: Generation, window: Window, claimed: Collection[str] = ()
) -> Sorted:
    """Which entries are the row's. Those whose id another row has (`claimed`) are not."""
    found = Sorted()
    for item in _distinct(listing):
        if item.request_id in claimed:
            continue
        in_window = window.has(submit_time(item))
        matches = is_match(row.body, item.json_input)
        if item.endpoint_id != row.endpoint:
            if matches or (_same_app(item.endpoint_id, row.endpoint) and in_window and _resembles(row, item)):
                found.doubts.append(f"fal lists {item.request_id} under the endpoint {item.endpoint_id}")
        elif matches and (row.seed_drawn or in_window):
            found.ours.append(item)
        elif matches or (in_window and _resembles(row, item)):
            found.doubts.append(
                f"fal lists {item.request_id}, which may be this one and cannot be told from it"
            )
    found.ours.sort(key=lambda item: (submit_time(item) or 0.0, item.request_id))
    return found


def is_match(sent: Mapping[str, Any], stored: Any) -> bool:
    """Whether a stored input is what was sent: every key that was sent is there and equal."""
    if not isinstance(stored, Mapping):
        return False
    return all(equal(value, stored.get(name)) for name, value in sent.items())


def equal(one: Any, other: Any) -> bool:
    """JSON equality: numbers by value, true is not 1, nulls in objects do not count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        names = {name for pair in (one, other) for name, value in pair.items() if value is not None}
        return all(equal(one.get(name), other.get(name)) for name in names)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float) and abs(one) > _EXACT:
        try:
            return float(one) == float(other)  # what passed through a float on its way
        except OverflowError:
            return one == other
    return bool(one == other)


def submit_time(item: Listed) -> float | None:
    """When the request was submitted, Unix seconds: from a UUIDv7 id to the millisecond, else as listed."""
    try:
        uuid = UUID(item.request_id)
    except ValueError:
        uuid = None
    if uuid is not None and uuid.version == 7:
        return (uuid.int >> 80) / 1000
    at = item.sent_at or item.started_at
    return at.timestamp() if at is not None else None


def _distinct(listing: Iterable[Listed]) -> Iterable[Listed]:
    # Pages of a moving listing may overlap. An entry with its input tells more than one without.
    found: dict[str, Listed] = {}
    for item in listing:
        if item.request_id not in found or found[item.request_id].json_input is None:
            found[item.request_id] = item
    return found.values()


def _resembles(row: Generation, item: Listed) -> bool:
    stored = item.json_input
    if not isinstance(stored, Mapping):
        return True
    return all(equal(row.body.get(name), stored.get(name)) for name in ("seed", "prompt"))


def _same_app(one: str, other: str) -> bool:
    # Status, result and cancel know an app only: `fal-ai/ltx-2.3-quality/ingredient` may be listed without its path.
    return one.lower().split("/")[:2] == other.lower().split("/")[:2]
