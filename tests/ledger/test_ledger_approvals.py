"""A person's yes to a plan: bound to its purchases and prices, with who, when and until when."""

from datetime import timedelta
from decimal import Decimal

import pytest
from ledger_parts import Clock

from prefect_ltx.ledger import Ledger, Purchase, plan_digest

ONE = Purchase("key-1", Decimal("0.25"), Decimal("0.30"))
TWO = Purchase("key-2", Decimal("0.25"), Decimal("0.30"))


@pytest.mark.parametrize(
    "other",
    [
        [ONE],
        [ONE, ONE, TWO],
        [ONE, TWO._replace(key="key-3")],
        [ONE, TWO._replace(price_expected_usd=Decimal("0.26"))],
        [ONE, TWO._replace(price_upper_usd=Decimal("0.300000001"))],
        [],
    ],
)
def test_another_purchase_or_price_is_another_plan(other: list[Purchase]) -> None:
    """A row less, a row twice, another video or price; the order and how an amount is written change nothing."""
    assert plan_digest(other) != plan_digest([ONE, TWO])
    assert plan_digest([TWO, ONE._replace(price_upper_usd=Decimal("0.3"))]) == plan_digest([ONE, TWO])


def test_an_approval_says_who_when_and_until_when(ledger: Ledger, clock: Clock) -> None:
    """It holds for its plan, up to its amount, and for its time; the newest counts, and another plan has none."""
    plan = plan_digest([ONE, TWO])
    assert ledger.approval(plan, at_most_usd=Decimal("0.60")) is None
    given = ledger.approve(plan, title="a film", at_most_usd=Decimal("0.60"), by="ada", valid_seconds=60)
    assert (given.approved_by, given.title, given.at_most_usd) == ("ada", "a film", Decimal("0.60"))
    assert given.valid_until - given.approved_at == timedelta(seconds=60)
    assert f"approved by ada on {given.approved_at:%Y-%m-%d %H:%M} UTC" == str(given)
    assert ledger.approval(plan, at_most_usd=Decimal("0.60")) == given
    assert ledger.approval(plan, at_most_usd=Decimal("0.600000001")) is None
    assert ledger.approval(plan_digest([ONE]), at_most_usd=Decimal("0.30")) is None
    clock.sleep(30)
    again = ledger.approve(plan, title="a film", at_most_usd=Decimal("1"), by="bob", valid_seconds=60)
    assert ledger.approval(plan, at_most_usd=Decimal("0.60")) == again
    clock.sleep(61)
    assert ledger.approval(plan, at_most_usd=Decimal("0.10")) is None


def test_names_of_people_are_made_storable(ledger: Ledger) -> None:
    """Half an emoji and a NUL in a name or a title never stand in the way of an approval."""
    given = ledger.approve(
        "p" * 64, title="film \ud83d", at_most_usd=Decimal(0), by="ada\x00", valid_seconds=60
    )
    assert "\x00" not in given.approved_by
    assert ledger.approval("p" * 64, at_most_usd=Decimal(0)) == given
