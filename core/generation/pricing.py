"""What a megapixel costs this account: fal's own word, now or the last time, else what is only a guess.

fal's pricing API knows discounts and dearer accounts; the page does not. What it answered is remembered in the
ledger, so that its being down changes nothing. Nobody's word at all leaves the page's price: a guess, with which no
budget can be held (`PriceUnknown`), and which is never written down as a bill.

And what fal's billable units mean in dollars, where they can be believed: `x-fal-billable-units` are megapixels for
these endpoints, and dollars or tokens for others, so they are compared with what the request can have cost before
anything is multiplied (fal-2026-11-26 §3).
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from prefect_ltx.fal import UNIT_PRICE_USD, FalError, ModelPrice, megapixels, usd_to_nano
from prefect_ltx.ledger import Generation, LedgerError

if TYPE_CHECKING:
    from prefect_ltx.generation.services import Services

PriceSource = Literal["quoted", "remembered", "stated", "page"]
"""fal's answer just now; its last answer; `PREFECT_LTX_UNIT_PRICE_USD`; the price on fal's page, a guess."""

REMEMBER_AGAIN_SECONDS: Final = 24 * 3600.0
ASK_AGAIN_SECONDS: Final = 60.0
LEAST_SHARE: Final = Decimal("0.125")
"""Fewer units than this share of what was asked for are no megapixels: a delivery is not that much smaller."""


@dataclass(frozen=True)
class UnitPrice:
    """Dollars per megapixel, and whose word it is."""

    usd: Decimal
    source: PriceSource
    note: str = ""
    """What a plan has to say about it; empty where fal quoted it just now."""
    asked_at: float = 0.0
    """The event loop's time of the question."""

    @property
    def is_guess(self) -> bool:
        """Whether nobody who could know has said it."""
        return self.source == "page"


async def unit_price(services: "Services", endpoint: str) -> UnitPrice:
    """What a megapixel of `endpoint` costs the account in use; asked once, and again where fal did not say.

    A price in another unit or currency is not used (fal-protocol §7.1: other models quote cents): neither is an
    earlier one then, since fal has said that it no longer holds.
    """
    if not services.has_account:
        return UnitPrice(UNIT_PRICE_USD, "page")
    known = services.unit_prices.get(endpoint)
    if known and (
        known.source == "quoted" or asyncio.get_running_loop().time() - known.asked_at < ASK_AGAIN_SECONDS
    ):
        return known
    found = await _asked(services, endpoint)
    services.unit_prices[endpoint] = found
    return found


async def _asked(services: "Services", endpoint: str) -> UnitPrice:
    at = asyncio.get_running_loop().time()
    account, ledger = services.account, services.ledger
    try:
        quoted = (await services.client.prices([endpoint])).get(endpoint)
        why = "fal names no price for this endpoint"
    except FalError as error:
        quoted, why = None, error.what
    if quoted is not None:
        if _is_usable(quoted):
            with suppress(LedgerError):  # what is only remembered must not stand in the way
                await ledger.remember_quote(account, endpoint, quoted.unit_price, REMEMBER_AGAIN_SECONDS)
            return UnitPrice(quoted.unit_price, "quoted", asked_at=at)
        why = f"fal quotes {quoted.unit_price} {quoted.currency} per {quoted.unit}, not dollars per megapixel"
    else:
        last = None
        with suppress(LedgerError):
            last = await ledger.last_quote(account, endpoint)
        if last is not None:
            note = f"the price is the one that fal quoted on {last.quoted_at:%Y-%m-%d}: {why} now"
            return UnitPrice(last.usd, "remembered", note, at)
    stated = services.options.stated_price
    if stated is not None:
        return UnitPrice(stated, "stated", f"the price is that of PREFECT_LTX_UNIT_PRICE_USD: {why}", at)
    note = f"the price is a guess, the one on fal's page: {why}. Under a budget nothing is sent at a guess"
    return UnitPrice(UNIT_PRICE_USD, "page", note, at)


def _is_usable(quoted: ModelPrice) -> bool:
    return (
        quoted.unit.strip().rstrip("s").lower() == "megapixel"
        and quoted.currency.strip().upper() == "USD"
        and quoted.unit_price.is_finite()
        and quoted.unit_price > 0
    )


async def billed_usd(services: "Services", generation: Generation, units: Decimal | None) -> Decimal | None:
    """What `units` cost, at the price that fal quotes now; None where that would be a guess.

    Units far beyond the request's bound are not turned into a bill either: they stop spending until a person has
    looked (`SpendingStopped`), since nobody knows what the next ones cost.
    """
    if units is None or not units.is_finite() or units < 0:
        return None
    price = await services.unit_price(generation.endpoint)
    if price.source != "quoted":
        return None
    asked, most = _megapixels(generation)
    if asked is not None and units < asked * LEAST_SHARE:
        return None
    usd = units * price.usd
    if most is not None and units > most * services.ledger.ledger.stop_factor:
        if usd_to_nano(usd) < 2**62:
            await services.ledger.report_bill(generation.id, usd)
        return None
    return usd


def _megapixels(generation: Generation) -> tuple[Decimal | None, Decimal | None]:
    """What was asked for, and the most that the request may have made; None where the row does not say."""
    asked: dict[str, Any] = dict(generation.asked)
    try:
        wanted = Decimal(megapixels(asked["width"], asked["height"], asked["num_frames"]))
    except (KeyError, TypeError, ValueError):
        return None, None
    priced = asked.get("price", {})
    if isinstance(priced, dict) and isinstance(most := priced.get("most_megapixels"), int):
        return wanted, Decimal(most)
    # A row of an earlier release: its bound in proportion to its price.
    if generation.price_expected_usd > 0:
        return wanted, wanted * generation.price_upper_usd / generation.price_expected_usd
    return wanted, None
