from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import FalRequestInvalid, megapixels, nano_to_usd, price_usd, usd_to_nano

# ltx-model §7: size, frames, megapixels billed, dollars rounded to 4 places.
PRICE_TABLE = """
64x64       9    1    0.0024
768x448     9    4    0.0096
512x512     121  32   0.0770
704x704     81   41   0.0987
768x448     121  42   0.1011
640x512     121  40   0.0963
896x512     121  56   0.1348
960x544     121  64   0.1541
1024x576    121  72   0.1733
1024x768    121  96   0.2311
1280x704    9    9    0.0217
1280x704    121  110  0.2648
1280x720    121  112  0.2696
1024x1024   121  127  0.3058
1280x768    121  119  0.2865
1536x896    121  167  0.4021
1536x896    161  222  0.5345
1536x896    241  332  0.7993
1536x896    361  497  1.1965
1536x896    481  662  1.5938
1920x1088   121  253  0.6091
1920x1088   241  504  1.2134
896x512     241  111  0.2672
896x512     481  221  0.5321
1280x720    145  134  0.3226
"""
ROWS = [line.split() for line in PRICE_TABLE.strip().splitlines()]

sides = st.integers(1, 14142)
frames = st.integers(1, 481)


@pytest.mark.parametrize(("size", "num_frames", "units", "usd"), ROWS)
def test_price_table_is_reproduced(size: str, num_frames: str, units: str, usd: str) -> None:
    """Every row of the price table comes out, in megapixels and in dollars rounded to four places."""
    width, height = (int(side) for side in size.split("x"))
    assert megapixels(width, height, int(num_frames)) == int(units)
    shown = price_usd(width, height, int(num_frames)).quantize(Decimal("0.0001"))
    assert shown == Decimal(usd)


def test_price_of_the_pages_own_example_is_exact() -> None:
    """121 frames of 1280x720 cost $0.26964, to the last digit."""
    assert price_usd(1280, 720, 121) == Decimal("0.26964")


@pytest.mark.parametrize(
    ("size", "usd"),
    [((2560, 1440, 121), "1.0761525"), ((1536, 896, 9), "0.0312975"), ((1000, 1000, 1), "0.0024075")],
)
def test_megapixels_are_rounded_up_before_the_price(size: tuple[int, int, int], usd: str) -> None:
    """Whole megapixels are billed, and a full one is not rounded further."""
    assert price_usd(*size) == Decimal(usd)


@given(sides, sides, frames)
def test_megapixels_are_the_exact_ceiling(width: int, height: int, num_frames: int) -> None:
    """The billed megapixels are never below the exact ones, and less than one above."""
    exact = Fraction(width * height * num_frames, 1_000_000)
    assert 0 <= megapixels(width, height, num_frames) - exact < 1


@given(sides, sides, frames)
def test_price_survives_the_ledgers_integers(width: int, height: int, num_frames: int) -> None:
    """Every price is a whole number of nano-dollars."""
    price = price_usd(width, height, num_frames)
    assert nano_to_usd(usd_to_nano(price)) == price


@given(st.integers(-(10**24), 10**24))
def test_nano_dollars_go_there_and_back(nano: int) -> None:
    """Nano-dollars become dollars without loss, at any size."""
    assert usd_to_nano(nano_to_usd(nano)) == nano


@given(st.decimals(0, 10**6, allow_nan=False, places=15))
def test_amounts_finer_than_a_nano_dollar_are_never_rounded_down(usd: Decimal) -> None:
    """A reservation in nano-dollars covers the amount, by less than one nano-dollar too much."""
    assert 0 <= nano_to_usd(usd_to_nano(usd)) - usd < Decimal("1e-9")


@pytest.mark.parametrize("size", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (1.5, 1, 1), (True, 1, 1), ("1", 1, 1)])
def test_sizes_that_are_none_are_refused(size: tuple[int, int, int]) -> None:
    """A price is for positive whole numbers only."""
    with pytest.raises(FalRequestInvalid, match="positive whole number"):
        price_usd(*size)


@pytest.mark.parametrize("usd", [0.1, Decimal("NaN"), Decimal("Infinity"), "1"])
def test_money_is_a_finite_decimal(usd: Decimal) -> None:
    """A float is not money."""
    with pytest.raises(FalRequestInvalid, match="finite Decimal"):
        usd_to_nano(usd)
