"""What a generation costs, in exact arithmetic.

fal's pages: $0.0024075 per megapixel of width x height x frames, rounded up. A megapixel is 10^6 pixels, and
whole megapixels are what is rounded up (fal-protocol §10.3). Money is Decimal dollars or integer
nano-dollars, never a float.
"""

from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Final

from prefect_ltx.fal.errors import FalRequestInvalid

UNIT_PRICE_USD: Final = Decimal("0.0024075")
"""Dollars per megapixel, for both endpoints."""

_PIXELS: Final = 1_000_000
_NANO: Final = 9


def megapixels(width: int, height: int, num_frames: int) -> int:
    """Whole megapixels (10^6 pixels, rounded up) that fal bills for a video of this size.

    Raises:
        FalRequestInvalid: when a value is not a positive whole number.
    """
    for name, value in (("width", width), ("height", height), ("num_frames", num_frames)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FalRequestInvalid(f"{name} must be a positive whole number, not {value!r}")
    return -(-width * height * num_frames // _PIXELS)


def price_usd(width: int, height: int, num_frames: int) -> Decimal:
    """Dollars that fal bills for a video of this size, exactly: 1280x720x121 is 0.26964.

    Raises:
        FalRequestInvalid: when a value is not a positive whole number.
    """
    return megapixels(width, height, num_frames) * UNIT_PRICE_USD


def usd_to_nano(usd: Decimal) -> int:
    """Dollars as whole nano-dollars; what is finer than one is rounded up, so a sum is never too low.

    Raises:
        FalRequestInvalid: when `usd` is not a finite Decimal.
    """
    if not isinstance(usd, Decimal) or not usd.is_finite():
        raise FalRequestInvalid(f"an amount in dollars must be a finite Decimal, not {usd!r}")
    with localcontext() as context:
        context.prec = 100
        return int(usd.scaleb(_NANO).to_integral_value(rounding=ROUND_CEILING))


def nano_to_usd(nano: int) -> Decimal:
    """Whole nano-dollars as dollars, exactly."""
    with localcontext() as context:
        context.prec = 100
        return Decimal(nano).scaleb(-_NANO)
