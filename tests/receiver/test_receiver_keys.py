"""fal's keys: kept for an hour, asked for again where a signature does not fit, and not by every forgery."""

from typing import Any

import pytest

from prefect_ltx.fal import FalUnavailable
from prefect_ltx.receiver import KeyRing, KeysUnavailable


class Fal:
    """Counts the questions, and answers with the key it has now, or not."""

    def __init__(self) -> None:
        self.asked, self.now, self.key, self.down = 0, 0.0, "one", False

    async def __call__(self) -> list[dict[str, Any]]:
        self.asked += 1
        if self.down:
            raise FalUnavailable("down")
        return [{"x": self.key}]

    def clock(self) -> float:
        return self.now


@pytest.fixture
def fal() -> Fal:
    return Fal()


@pytest.fixture
def ring(fal: Fal) -> KeyRing:
    return KeyRing(fal, clock=fal.clock)


async def test_keys_are_asked_for_once_an_hour(fal: Fal, ring: KeyRing) -> None:
    """And not for each webhook."""
    for now in (0, 1, 3599):
        fal.now = now
        assert await ring.current() == [{"x": "one"}]
    assert fal.asked == 1
    fal.now, fal.key = 3600, "two"
    assert await ring.current() == [{"x": "two"}]


async def test_a_burst_of_forgeries_is_one_question(fal: Fal, ring: KeyRing) -> None:
    """Within 30 s of the last question no signature, however wrong, makes another."""
    keys = await ring.current()
    assert [await ring.newer_than(keys) for _ in range(100)] == [None] * 100
    assert fal.asked == 1
    fal.now, fal.key = 30, "two"
    assert await ring.newer_than(keys) == [{"x": "two"}]
    # One that was verified with the old keys meanwhile gets the new ones without a question.
    assert await ring.newer_than(keys) == [{"x": "two"}]
    assert fal.asked == 2


async def test_keys_outlive_an_outage_for_a_day(fal: Fal, ring: KeyRing) -> None:
    """fal may be down for a while; but a key is never believed longer than fal allows."""
    keys = await ring.current()
    fal.down, fal.now = True, 24 * 3600 - 1
    assert await ring.current() == keys
    fal.now = 24 * 3600 + 31
    with pytest.raises(KeysUnavailable):
        await ring.current()


async def test_an_outage_leaves_a_wrong_signature_open(fal: Fal, ring: KeyRing) -> None:
    """Where fal cannot be asked for newer keys nobody knows whether it is a forgery: it should come again."""
    keys = await ring.current()
    fal.down, fal.now = True, 31
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await ring.newer_than(keys)
    assert fal.asked == 2


async def test_without_keys_fal_is_asked_every_other_second(fal: Fal, ring: KeyRing) -> None:
    """A receiver that started while fal was down works soon after fal does."""
    fal.down = True
    for now in (0, 1, 1.9):
        fal.now = now
        with pytest.raises(KeysUnavailable):
            await ring.current()
    assert fal.asked == 1
    fal.down, fal.now = False, 2.0
    assert await ring.current() == [{"x": "one"}]
