"""Another seed where quality control refuses a video: which one, and what was refused and paid for before.

The seeds follow from the first one, so a run that is repeated finds the same generations and pays for none of
them again. Each take is a generation of its own, with its own price and its own look at the budget, and is begun
only after the refused one is in the archive.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from prefect_ltx.film import take_seeds
from prefect_ltx.generation.errors import QualityRejected, TakeNotMade, money_of, what_happened
from prefect_ltx.generation.inspection import QualityMode, place_of, reasons_against
from prefect_ltx.generation.plan import PlannedGeneration
from prefect_ltx.generation.store import ArchivedGeneration, RefusedTake
from prefect_ltx.ledger import Generation
from prefect_ltx.ledger.life.budget import dollars

MOST_SEEDS: Final = 8
SEEDS: Final = 3
"""How many seeds are tried where nobody says otherwise."""
_TAG: Final = re.compile(r"next_seed:(\d+)/(\d+)")


def is_retake(tags: Sequence[str]) -> bool:
    """Whether a generation with these tags is a take after the first."""
    return any(_TAG.fullmatch(tag) for tag in tags)


class Takes:
    """The takes of one request, one after the other. Without mode "next_seed" there is one."""

    def __init__(self, mode: QualityMode, max_seeds: int) -> None:
        self.refused: list[RefusedTake] = []
        self.last: ArchivedGeneration | None = None
        self.plan: PlannedGeneration | None = None
        """Of the take that was begun last."""
        self._mode = mode
        self._most = max_seeds if mode == "next_seed" else 1
        self._first: int | None = None
        self._number = 0

    @property
    def most(self) -> int:
        """How many may be bought."""
        return self._most

    @property
    def tags(self) -> tuple[str, ...]:
        """The ledger's tag of a take after the first: which row of seeds it belongs to, and its place there."""
        return (f"next_seed:{self._first}/{self._number}",) if self._number else ()

    @property
    def spent_usd(self) -> Decimal:
        """What this run bought: the refused takes, and the last one."""
        bought = {each.generation_id: each for each in self.refused}
        if self.last is not None:
            bought.setdefault(self.last.generation_id, _refused(self.last, ()))
        return sum((each.price_usd for each in bought.values() if not each.reused), Decimal(0))

    def begun(self, seed: int, tags: Sequence[str] = ()) -> None:
        """Note the first take. One that a dead run left may be a later take: then its row of seeds goes on."""
        if self._first is not None:
            return
        self._first = seed
        for tag in tags:
            if found := _TAG.fullmatch(tag):
                self._first, self._number = int(found[1]), int(found[2])

    def again(self, made: ArchivedGeneration) -> int | None:
        """The seed to try next, or None where `made` is not refused.

        Raises:
            QualityRejected: it is refused, and so is every other seed that may be tried. All are archived.
        """
        self.last = made
        reasons = reasons_against(made, self._mode)
        if not reasons:
            return None
        assert self._first is not None
        self.refused.append(_refused(made, reasons))
        self._number += 1
        if self._number >= self._most:
            raise QualityRejected(made.generation_id, place_of(made), reasons, self._tried())
        return self.next_seed

    @property
    def next_seed(self) -> int | None:
        """The seed of the take that comes next; None for the first, whose seed is the request's."""
        if not self._number or self._first is None or not self.refused:
            return None
        return take_seeds(self._first, self._number + 1)[self._number]

    def not_made(self, error: Exception, generation: Generation | None) -> TakeNotMade:
        """The end of a run whose next take failed with `error`, told with what the refused ones cost.

        `generation` is the failed take's row, where it has one.
        """
        archived = "; ".join(
            f"seed {each.seed} as generation {each.generation_id}, {self._paid(each)}"
            for each in self.refused
        )
        money = f" ({money_of(error, generation)})"
        return TakeNotMade(
            f"Take {self._number + 1} of at most {self._most} was not made: {what_happened(error)}{money}. "
            f"Before it quality control refused {len(self.refused)}, all paid for and archived: {archived}. "
            f"This run spent {dollars(self.spent_usd)} on them. The same run again pays for none of them and goes "
            "on with the next seed.",
            error,
            self.refused,
        )

    def said(self, price: Decimal) -> str:
        """What is told before another take is begun; `price` is what that is expected to cost in USD."""
        refused = self.refused[-1]
        return (
            f"Take {self._number} of at most {self._most} (seed {refused.seed}, {self._paid(refused)}) is archived and "
            f"refused: {'; '.join(refused.reasons)}. The next seed costs {dollars(price)} unless it is paid for"
        )

    @staticmethod
    def _paid(take: RefusedTake) -> str:
        return f"paid: {'by an earlier run' if take.reused else dollars(take.price_usd)}"

    def _tried(self) -> str:
        if len(self.refused) < 2:
            return ""
        seeds = ", ".join(str(each.seed) for each in self.refused)
        paid = sum((each.price_usd for each in self.refused), Decimal(0))
        return f"{len(self.refused)} seeds were tried and refused ({seeds}), {dollars(paid)} together"


def _refused(made: ArchivedGeneration, reasons: Sequence[str]) -> RefusedTake:
    return RefusedTake(
        generation_id=made.generation_id,
        seed=made.seed,
        folder=made.folder,
        reasons=list(reasons),
        price_expected_usd=made.price_expected_usd,
        price_billed_usd=made.price_billed_usd,
        reused=made.reused,
    )
