"""What the generations of `doctor --live` told: no network, no database, only what follows from what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from prefect_ltx.fal import megapixels
from prefect_ltx.generation.learned import Learned, now
from prefect_ltx.ledger import Generation, State

LOOK_SECONDS: Final = 1.0
"""How long after one look at the listing the next one follows."""


@dataclass
class Seen:
    """What the listing and the status showed of one request."""

    shows_queued: bool = False
    """Whether it was in the listing while it was in the queue."""
    queued_for: float | None = None
    """Seconds from the answer to the submit until it was last seen in the queue; None: it never was."""
    lag: float | None = None
    payloads: bool | None = None
    problem: str = ""


def conclude(host: str, told: Sequence[tuple[Generation, Seen]]) -> Learned:
    """What the generations told. The least favourable answer counts where they differ."""
    queued = _queued([seen for _, seen in told])
    lags = [seen.lag for _, seen in told if seen.lag is not None]
    payloads = [seen.payloads for _, seen in told if seen.payloads is not None]
    unseen = any(seen.lag is None for _, seen in told)
    odd = [row for row, _ in told if row.body.get("resolution") != "auto" and "problem" not in row.facts]
    auto = [row for row, _ in told if row.body.get("resolution") == "auto" and "problem" not in row.facts]
    sizes = {_fate(_size(row), _asked(row), _floored_size(row), "floor 64") for row in odd}
    frames = {_fate(row.facts["num_frames"], _frames(row), _floored_frames(row), "floor 8k+1") for row in odd}
    bills = {bill for row, _ in told if (bill := _billed_by(row)) is not None}
    return Learned(
        host=host,
        learned_at=now(),
        spent_usd=str(sum((_cost(row) for row, _ in told), Decimal(0))),
        listing_shows_queued=all(queued) if queued else None,
        listing_lag_seconds=None if unseen or not lags else round(max(lags), 1),
        listing_has_payloads=all(payloads) if payloads else None,
        auto_size=_size(auto[0]) if auto else None,
        sizes=_one(sizes),
        frames=_one(frames),
        billed_by=bills.pop() if len(bills) == 1 else None,
        observed=[_observed(row, seen) for row, seen in told],
    )


def _queued(seen: list[Seen]) -> list[bool]:
    """For each request that was in the queue for longer than the listing lags: whether it was listed there."""
    lag = max((each.lag for each in seen if each.lag is not None and each.queued_for is None), default=0.0)
    return [
        each.shows_queued
        for each in seen
        if each.queued_for is not None and (each.shows_queued or each.queued_for > lag + 2 * LOOK_SECONDS)
    ]


def _fate(came: Any, asked: Any, floored: Any, name: str) -> str:
    return "as asked" if came == asked else name if came == floored else "other"


def _one(fates: set[str]) -> Any:
    """One answer for both endpoints; "other" where they differ."""
    return fates.pop() if len(fates) == 1 else "other" if fates else None


def _size(row: Generation) -> tuple[int, int]:
    return row.facts["width"], row.facts["height"]


def _asked(row: Generation) -> tuple[int, int]:
    return row.asked["width"], row.asked["height"]


def _frames(row: Generation) -> int:
    return int(row.asked["num_frames"])


def _floored_frames(row: Generation) -> int:
    return (_frames(row) - 1) // 8 * 8 + 1


def _floored_size(row: Generation) -> tuple[int, int]:
    width, height = _asked(row)
    return max(width // 64, 1) * 64, max(height // 64, 1) * 64


def _billed_by(row: Generation) -> Any:
    """Which of the two sizes the billed megapixels are those of; None where both come to the same."""
    if row.units is None or row.state is not State.ARCHIVED or "problem" in row.facts:
        return None
    if row.body.get("resolution") == "auto":
        return None  # what was asked has no size of its own
    asked = megapixels(*_asked(row), row.asked["num_frames"])
    came = megapixels(*_size(row), row.facts["num_frames"])
    if asked == came:
        return None
    return {asked: "requested", came: "delivered"}.get(
        int(row.units.to_integral_value(rounding="ROUND_CEILING"))
    )


def _cost(row: Generation) -> Decimal:
    return row.price_expected_usd if row.settled_usd is None else row.settled_usd


def _observed(row: Generation, seen: Seen) -> dict[str, Any]:
    return {
        "generation": row.id,
        "endpoint": row.endpoint,
        "asked": {name: row.asked[name] for name in ("width", "height", "num_frames")},
        "resolution": row.body.get("resolution"),
        "delivered": {name: row.facts.get(name) for name in ("width", "height", "num_frames")},
        "units": None if row.units is None else str(row.units),
        "usd": str(_cost(row)),
        "listed_after_seconds": None if seen.lag is None else round(seen.lag, 1),
        "queued_for_seconds": None if seen.queued_for is None else round(seen.queued_for, 1),
        "listed_while_queued": seen.shows_queued,
        "problem": seen.problem,
    }
