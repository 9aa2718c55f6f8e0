"""Every decision of a history, drawn from its seed by name.

A decision is named by who meets it and how often it met one of its kind, so leaving one out changes no other: that is
what shrinking does. Nothing depends on the order of sets or on Python's own hashes.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """The decisions of one seed. `without` are names of faults that are not to happen; `only`, the ones that may."""

    def __init__(
        self, seed: int, *, without: Collection[str] = (), only: Collection[str] | None = None
    ) -> None:
        self.seed = seed
        self._without = frozenset(without)
        self._only = None if only is None else frozenset(only)
        self._met: Counter[str] = Counter()
        self.happened: dict[str, str] = {}
        """Names of the faults that happened, and the kind of each."""

    def fraction(self, name: str) -> float:
        """A number from 0 to below 1, always the same for this name."""
        digest = blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def numbered(self, name: str) -> str:
        """This name, with how often it was asked for before."""
        self._met[name] += 1
        return f"{name}#{self._met[name]}"

    def between(self, name: str, least: float, most: float) -> float:
        """A number between two, all equally likely."""
        return least + (most - least) * self.fraction(name)

    def skewed(self, name: str, least: float, most: float) -> float:
        """A number between two of the same sign, small ones as likely as large ones."""
        return float(least * (most / least) ** self.fraction(name))

    def pick(self, name: str, values: Sequence[T]) -> T:
        """One of these."""
        return values[int(self.fraction(name) * len(values))]

    def fault(self, kind: str, name: str, probability: float) -> bool:
        """Whether the fault of this name happens; it counts as one of its kind."""
        if self.fraction(name) >= probability:
            return False
        if name in self._without or (self._only is not None and name not in self._only):
            return False
        self.happened[name] = kind
        return True

    def stream(self, name: str) -> random.Random:
        """A source of many numbers, for what is no decision: ids, jitter, the order of what is ready."""
        return random.Random(f"{self.seed}/{name}")
