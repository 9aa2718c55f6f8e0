"""What a megapixel costs this account: fal's own word, now or the last time, else what is only a guess.

fal's pricing API knows discounts and dearer accounts; the page does not. What it answered is remembered in the
ledger, so that its being down changes nothing. Nobody's word at all leaves the page's price: a guess, with which no
budget can be held (`PriceUnknown`), and which is never written down as a bill.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from prefect_ltx.fal import UNIT_PRICE_USD, FalError, ModelPrice
from prefect_ltx.ledger import LedgerError

if TYPE_CHECKING:
    from prefect_ltx.generation.services import Services

PriceSource = Literal["quoted", "remembered", "stated", "page"]
"""fal's answer just now; its last answer; `PREFECT_LTX_UNIT_PRICE_USD`; the price on fal's page, a guess."""

REMEMBER_AGAIN_SECONDS: Final = 24 * 3600.0
ASK_AGAIN_SECONDS: Final = 60.0


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
