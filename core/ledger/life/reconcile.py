"""Is the request whose answer was lost at fal? Decided from fal's own listing, without sending anything.

A listed request is the row's when every key that was sent has an equal value in its stored input: numbers by
value (24 equals 24.0), nulls that were sent or stored do not count, and keys that fal adds are tolerated.

- **A seed of our own** (`seed_drawn`) is in no request but this row's. So a match counts whenever it was
  sent; with several the earliest is adopted and the others are double charges.
- **The user's seed** may be in somebody else's request, of another ledger or by hand. Only a match inside the
  time in which the POST can have left counts, and of several none is chosen: a person decides. Adopting a
  stranger's would let our cancel stop it, and its end would free our key although our own request ran.
  One match alone is adopted at once: the same body is the same video, so even a stranger's costs nothing.
- **Absent** is only what has had time to appear (`lag`), where a missing entry is proof at all, and while
  nothing unclaimed could be it. What could be it makes the row undecidable: an entry of that time without a
  stored input, or with our seed and prompt but not our whole body, and our whole body at another time.

fal-protocol §7.3, §7.5; the time inside a request id: §1.2.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from prefect_ltx.ledger.life.events import Found, ProvablyAbsent, Undecidable
from prefect_ltx.ledger.records import Generation

SEND_WINDOW_SECONDS = 900.0
"""How long after its permission a POST can still reach fal: the caller's own time-outs end far earlier."""
CLOCK_SKEW_SECONDS = 300.0
"""How far fal's clock and ours may differ."""
_EXACT = 2**53


class Listed(Protocol):
    """One entry of fal's request listing; `prefect_ltx.fal.ListedRequest` is one."""

    @property
    def request_id(self) -> str:
        """fal's id."""

    @property
    def endpoint_id(self) -> str:
        """The full endpoint id."""

    @property
    def sent_at(self) -> datetime | None:
        """When fal took it."""

    @property
    def started_at(self) -> datetime | None:
        """When it started to run."""

    @property
    def json_input(self) -> Any:
        """The stored input, or None where fal kept none."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Too early to tell: look again after `seconds`."""

    seconds: float


Verdict = Found | ProvablyAbsent | Undecidable | Wait


def match(
    listing: Iterable[Listed],
    generation: Generation,
    *,
    now: float,
    lag: float,
    absence_is_proof: bool,
    claimed: Collection[str] = (),
    send_window: float = SEND_WINDOW_SECONDS,
    clock_skew: float = CLOCK_SKEW_SECONDS,
) -> Verdict:
    """What the listing says about a generation in UNKNOWN. The answer is an event to record, or `Wait`.

    Args:
        listing: every page of it, from before the POST until now.
        now: Unix seconds, after the listing was read.
        lag: seconds after which a request that exists is listed.
        absence_is_proof: whether what is not listed after the lag does not exist.
        claimed: request ids of other rows (`Ledger.claimed_request_ids`).
        send_window: seconds after its permission in which the POST can have reached fal.
        clock_skew: seconds by which the clocks may differ.
    """
    earliest, latest = _sending_time(generation, send_window)
    candidates: list[Listed] = []
    doubtful = False
    for item in _distinct(listing):
        if item.request_id in claimed or item.endpoint_id != generation.endpoint:
            continue
        at = submit_time(item)
        in_window = at is None or earliest - clock_skew <= at <= latest + clock_skew
        matches = is_match(generation.body, item.json_input)
        if matches and (generation.seed_drawn or in_window):
            candidates.append(item)
        elif matches or (in_window and _resembles(generation, item)):
            doubtful = True
    if candidates:
        return _choose(candidates, generation)
    if (wait := latest + lag - now) > 0:
        return Wait(wait)
    if doubtful:
        return Undecidable(
            "ambiguous",
            "fal lists a request that may be this one and cannot be told from it",
            attempt=generation.attempt,
        )
    if not absence_is_proof:
        return Undecidable(
            "absence unproven",
            f"fal's listing does not show it {lag:g} s after it was sent",
            attempt=generation.attempt,
        )
    return ProvablyAbsent(attempt=generation.attempt)


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
        return float(one) == float(other)  # what passed through a float on its way
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


def _sending_time(generation: Generation, send_window: float) -> tuple[float, float]:
    # Of all attempts: an earlier one's request may show up late.
    earliest = generation.created_at.timestamp()
    latest = generation.posted_at.timestamp() + send_window
    if generation.unknown_at is not None:
        # Whoever was allowed to send had stopped, or lost the permission, by then.
        latest = min(latest, max(generation.unknown_at.timestamp(), generation.posted_at.timestamp()))
    return earliest, latest


def _distinct(listing: Iterable[Listed]) -> Iterable[Listed]:
    # Pages of a moving listing may overlap. An entry with its input tells more than one without.
    found: dict[str, Listed] = {}
    for item in listing:
        if item.request_id not in found or found[item.request_id].json_input is None:
            found[item.request_id] = item
    return found.values()


def _choose(candidates: list[Listed], generation: Generation) -> Verdict:
    if len(candidates) > 1 and not generation.seed_drawn:
        ids = ", ".join(sorted(item.request_id for item in candidates))
        return Undecidable(
            "ambiguous",
            f"several requests have this body, and the seed is not ours: {ids}",
            attempt=generation.attempt,
        )
    first, *others = sorted(candidates, key=lambda item: (submit_time(item) or 0.0, item.request_id))
    return Found(first.request_id, tuple(item.request_id for item in others), attempt=generation.attempt)


def _resembles(generation: Generation, item: Listed) -> bool:
    stored = item.json_input
    if not isinstance(stored, Mapping):
        return True
    return all(equal(generation.body.get(name), stored.get(name)) for name in ("seed", "prompt"))
