"""What fal's billable units mean in dollars, where they can be believed.

`x-fal-billable-units` are megapixels for these endpoints, and dollars or tokens for others: they are compared with
what the request can have cost before anything is multiplied (fal-2026-11-26 §3).
"""

from decimal import Decimal
from typing import Any, Final

from prefect_ltx.fal import megapixels, usd_to_nano
from prefect_ltx.generation.services import Services
from prefect_ltx.ledger import Generation

LEAST_SHARE: Final = Decimal("0.125")
"""Fewer units than this share of what was asked for are no megapixels: a delivery is not that much smaller."""


async def billed_usd(services: Services, generation: Generation, units: Decimal | None) -> Decimal | None:
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
