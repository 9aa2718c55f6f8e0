"""fal's public keys, kept for a while: asked again when a signature does not fit, but not by every forgery.

Keys come from one place only, the fal that is configured, by the function that is given. fal lets them be kept for
24 hours (fal-protocol §4); they are asked for hourly here, so that a key that was withdrawn is soon not believed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from prefect_ltx.fal import FalError

Jwks = Sequence[Mapping[str, Any]]
Fetch = Callable[[], Awaitable[Jwks]]

FRESH_SECONDS: Final = 3600.0
USABLE_SECONDS: Final = 24 * 3600.0
FLOOR_SECONDS: Final = 30.0
"""The least time between two questions for keys, however many signatures fail."""
DOWN_SECONDS: Final = 2.0
"""The least time between two questions while there are no keys at all."""


class KeysUnavailable(Exception):
    """fal's keys cannot be had now, so nobody can tell whether a webhook is fal's: it should come again."""


class KeyRing:
    """The keys of one fal. For one event loop; `clock` is for tests."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        floor: float = FLOOR_SECONDS,
        fresh: float = FRESH_SECONDS,
        usable: float = USABLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is fetched yet."""
        self._fetch = fetch
        self._floor, self._fresh, self._usable, self._clock = floor, fresh, usable, clock
        self._keys: Jwks | None = None
        self._fetched = self._tried = float("-inf")
        self._last_failed = False
        self._lock = asyncio.Lock()

    async def current(self) -> Jwks:
        """The keys, at most a day old; while fal is down those that were fetched last.

        Raises:
            KeysUnavailable: fal's keys could not be fetched.
        """
        if self._keys is not None and self._age < self._fresh:
            return self._keys
        async with self._lock:
            if self._keys is None or self._age >= self._fresh:
                await self._ask(self._floor if self._keys is not None else min(self._floor, DOWN_SECONDS))
            if self._keys is None or self._age >= self._usable:
                raise KeysUnavailable("fal's webhook keys cannot be fetched")
            return self._keys

    async def newer_than(self, keys: Jwks) -> Jwks | None:
        """Keys that came after `keys`, which did not fit; None where fal has been asked just now.

        Raises:
            KeysUnavailable: fal was asked and did not answer, so it may have other keys by now.
        """
        async with self._lock:
            if self._keys is keys:
                await self._ask(self._floor)
            if self._keys is keys and self._last_failed:
                raise KeysUnavailable("fal's webhook keys cannot be fetched")
            return None if self._keys is keys else self._keys

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched

    async def _ask(self, floor: float) -> None:
        if self._clock() - self._tried < floor:
            return
        self._tried = self._clock()
        try:
            # A new list each time: that it is another one says that fal was asked.
            self._keys = list(await self._fetch())
        except FalError:
            self._last_failed = True
        else:
            self._fetched, self._last_failed = self._clock(), False
